//! Typed requests, transports, failover and errors of an HTTP API in the Proxmox manner, without knowing which product.
