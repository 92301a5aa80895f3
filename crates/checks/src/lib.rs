//! The checks behind the tester: endpoints, permissions and the MCP handshake.
