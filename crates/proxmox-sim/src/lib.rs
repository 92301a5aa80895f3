//! A stateful simulator of Proxmox VE and Proxmox Backup Server.
