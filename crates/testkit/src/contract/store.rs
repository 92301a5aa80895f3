//! The store's contracts: jobs, approvals, audit.
