//! Typed client of the Proxmox VE API.
