//! Typed client of the Proxmox Backup Server API.
