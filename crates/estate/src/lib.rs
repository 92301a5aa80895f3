//! Ids and nouns that every crate shares: clusters, nodes, guests, UPIDs, access tiers.
