//! The MCP server for Proxmox estates.
fn main() {}
