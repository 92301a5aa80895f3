//! The catalogue of tools, resources and prompts over a fleet of Proxmox endpoints.
