//! The tools over the real clients, against the simulator.

mod admin_look;
mod admin_rights;
mod admin_trouble;
mod backups;
mod bulk;
mod bytes;
mod classic;
mod estate;
mod late;
mod look;
mod lost;
mod make;
mod net_work;
mod power;
mod progress;
mod snapshots;
mod surface;
mod tasks;
mod truth;
mod vault_place;
mod vault_prune;
mod vault_rehearsal;
mod vault_restore;
mod vault_run;
mod volumes_work;
