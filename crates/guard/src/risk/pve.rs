//! Proxmox VE: where the method says the wrong thing.

use super::{Rule, destroy, operate, read, refuse, when};

/// Reviewed against 9.2.
#[rustfmt::skip]
pub(super) static RULES: &[Rule] = &[
    // Shells, consoles and tunnels.
    refuse("POST", "/nodes/{node}/termproxy|vncshell|spiceshell", "hands out a shell of the node"),
    refuse("GET", "/nodes/{node}/vncwebsocket", "is the stream of a shell"),
    refuse("POST", "/nodes/{node}/qemu|lxc/{vmid}/termproxy|vncproxy|spiceproxy", "hands out a console ticket"),
    refuse("GET", "/nodes/{node}/qemu|lxc/{vmid}/vncwebsocket", "is the stream of a console"),
    refuse("POST", "/nodes/{node}/qemu|lxc/{vmid}/mtunnel", "opens a migration tunnel, which takes commands"),
    refuse("GET", "/nodes/{node}/qemu|lxc/{vmid}/mtunnelwebsocket", "is the stream of a migration tunnel"),
    refuse("POST", "/nodes/{node}/qemu/{vmid}/monitor", "takes any command of the QEMU monitor"),
    refuse("POST", "/nodes/{node}/execute", "carries other calls past their own tiers"),
    refuse("POST", "/nodes/{node}/qemu/{vmid}/agent/exec", "runs commands in a guest: that is for the tool that has an allowlist"),

    // Tickets and secrets.
    refuse("POST", "/access/ticket", "hands out a login"),
    refuse("POST", "/access/vncticket", "checks tickets, of which this server makes none"),
    refuse("POST", "/access/openid/auth-url|login", "is a step of a login"),
    refuse("POST", "/access/tfa/{userid}", "hands out recovery codes, or takes the secret of a second factor"),
    refuse("POST", "/access/users/{userid}/token/{tokenid}", "hands out the secret of a token, which would pass through the model"),
    when(&["regenerate"], refuse("PUT", "/access/users/{userid}/token/{tokenid}", "hands out the new secret of a token, which would pass through the model")),

    // Files, which are no parameters.
    refuse("POST", "/nodes/{node}/storage/{storage}/upload", "takes a file: that is for the tool that uploads"),
    refuse("GET", "/nodes/{node}/storage/{storage}/file-restore/download", "gives a file: that is for the tool that restores files"),

    // Reads that are more.
    operate("GET", "/nodes/{node}/qemu/{vmid}/agent/exec-status", "takes the output away: it is told once"),
    operate("GET", "/nodes/{node}/qemu/{vmid}/agent/file-read", "reads any file of a guest, secrets too"),
    operate("GET", "/nodes/{node}/scan/cifs|nfs|iscsi|pbs", "makes the node contact a host that the caller names"),
    operate("GET", "/nodes/{node}/query-url-metadata|query-oci-repo-tags", "makes the node contact a host that the caller names"),
    operate("GET", "/cluster/acme/tos|meta", "makes the node contact a host that the caller names"),

    // Changes that only read.
    read("POST", "/nodes/{node}/qemu/{vmid}/agent/ping|fsfreeze-status", "only asks the agent"),

    // Deletions of nothing that is missed.
    operate("DELETE", "/nodes/{node}/tasks/{upid}", "stops a task"),
    operate("DELETE", "/nodes/{node}/network", "drops changes that are not applied yet"),
    operate("DELETE", "/cluster/sdn/lock", "gives a lock back"),

    // Guests: what cannot be taken back.
    destroy("POST", "/nodes/{node}/qemu|lxc/{vmid}/snapshot/{snapname}/rollback", "loses everything since the snapshot"),
    destroy("POST", "/nodes/{node}/qemu|lxc/{vmid}/template", "cannot be taken back"),
    destroy("POST", "/nodes/{node}/qemu|lxc/{vmid}/remote_migrate", "moves a guest to another cluster, and can remove it here"),
    destroy("POST", "/nodes/{node}/qemu/{vmid}/agent/file-write", "overwrites any file of a guest"),
    destroy("POST", "/nodes/{node}/qemu/{vmid}/agent/set-user-password", "takes over an account of a guest"),
    destroy("PUT", "/nodes/{node}/qemu/{vmid}/sendkey", "types into a console, whoever is logged in there"),
    when(&["force"], destroy("POST", "/nodes/{node}/qemu|lxc", "overwrites a guest that exists")),
    when(&["delete", "force"], destroy("PUT", "/nodes/{node}/qemu|lxc/{vmid}/config", "removes settings, and volumes that are not used")),
    when(&["delete", "force"], destroy("POST", "/nodes/{node}/qemu/{vmid}/config", "removes settings, and volumes that are not used")),
    destroy("PUT", "/nodes/{node}/qemu/{vmid}/unlink", "removes volumes: those that are not used at once, the others with force"),
    when(&["delete"], destroy("POST", "/nodes/{node}/qemu/{vmid}/move_disk", "removes the volume that it was copied from")),
    when(&["delete"], destroy("POST", "/nodes/{node}/lxc/{vmid}/move_volume", "removes the volume that it was copied from")),
    when(&["hookscript", "args"], destroy("PUT", "/nodes/{node}/qemu|lxc/{vmid}/config", "makes the node run something of the caller's with the guest")),
    when(&["hookscript", "args"], destroy("POST", "/nodes/{node}/qemu/{vmid}/config", "makes the node run something of the caller's with the guest")),
    when(&["hookscript", "args"], destroy("POST", "/nodes/{node}/qemu|lxc", "makes the node run something of the caller's with the guest")),

    // All guests at once.
    destroy("POST", "/nodes/{node}/stopall|suspendall", "stops every guest of a node"),
    destroy("POST", "/cluster/bulk-action/guest/shutdown|suspend", "stops many guests at once"),
    destroy("POST", "/nodes/{node}/migrateall", "moves every guest of a node"),
    destroy("POST", "/cluster/bulk-action/guest/migrate", "moves many guests at once"),

    // Backups and what keeps them.
    when(&["prune-backups", "remove"], destroy("POST", "/nodes/{node}/vzdump", "removes older backups")),
    when(&["prune-backups", "remove"], destroy("POST", "/cluster/backup", "makes runs remove older backups")),
    when(&["prune-backups", "remove"], destroy("PUT", "/cluster/backup/{id}", "makes runs remove older backups")),
    when(&["storage", "delete"], destroy("PUT", "/cluster/backup/{id}", "can make its runs remove backups in another place")),
    when(&["stop"], destroy("POST", "/nodes/{node}/vzdump", "ends the backups that run on the node")),
    when(&["script"], refuse("POST", "/nodes/{node}/vzdump", "names a program that the node runs")),
    when(&["script"], refuse("POST", "/cluster/backup", "names a program that the node runs")),
    when(&["script"], refuse("PUT", "/cluster/backup/{id}", "names a program that the node runs")),
    when(&["remove_job"], destroy("PUT", "/cluster/replication/{id}", "removes the job, and its copies with full")),
    when(&["prune-backups"], destroy("POST", "/storage", "makes runs remove older backups")),
    when(&["prune-backups"], destroy("PUT", "/storage/{storage}", "makes runs remove older backups")),

    // Disks and Ceph.
    destroy("PUT", "/nodes/{node}/disks/wipedisk", "erases a disk"),
    destroy("POST", "/nodes/{node}/disks/initgpt", "writes a new partition table"),
    destroy("POST", "/nodes/{node}/disks/directory|lvm|lvmthin|zfs", "formats disks"),
    destroy("POST", "/nodes/{node}/ceph/osd", "formats a disk"),
    destroy("PUT", "/nodes/{node}/ceph/pool/{name}", "can leave fewer copies of the data"),
    destroy("POST", "/nodes/{node}/ceph/stop|restart", "can stop all that lies on Ceph"),
    destroy("POST", "/nodes/{node}/ceph/osd/{osdid}/out", "moves the data of a disk away, and can fill the others"),
    destroy("PUT", "/cluster/ceph/flags", "can stop all reads and writes, or the repair of lost copies"),
    destroy("PUT", "/cluster/ceph/flags/{flag}", "can stop all reads and writes, or the repair of lost copies"),

    // Nodes and the cluster.
    destroy("POST", "/nodes/{node}/status", "reboots or shuts down a node"),
    destroy("POST", "/nodes/{node}/services/{service}/stop|restart|reload", "can end the API itself, or cost the node its cluster and its guests"),
    destroy("POST", "/cluster/ha/status/disarm-ha", "takes the watch away from every guest that HA guards"),
    destroy("POST", "/nodes/{node}/hosts", "overwrites the file by which nodes find each other"),
    destroy("POST", "/nodes/{node}/certificates/custom", "replaces the certificate, and whoever pins it is cut off"),
    when(&["force"], destroy("POST", "/nodes/{node}/certificates/acme/certificate", "replaces a certificate of one's own, and whoever pins it is cut off")),
    destroy("PUT", "/nodes/{node}/network", "can cut the node off"),
    destroy("PUT", "/cluster/sdn", "can cut guests and nodes off"),
    destroy("POST", "/cluster/sdn/rollback", "drops the pending changes of everybody"),
    when(&["force"], destroy("DELETE", "/cluster/sdn/lock", "takes the lock away from whoever holds it")),

    // The firewall above a guest's own: it can lock the operator out.
    destroy("PUT", "/cluster/firewall/options", "can open the cluster, or lock everybody out"),
    destroy("PUT", "/nodes/{node}/firewall/options", "can open the node, or lock everybody out"),
    destroy("PUT", "/cluster/sdn/vnets/{vnet}/firewall/options", "can open a network, or cut its guests off"),
    destroy("POST", "/cluster/firewall/rules", "can open the cluster, or lock everybody out"),
    destroy("PUT", "/cluster/firewall/rules/{pos}", "can open the cluster, or lock everybody out"),
    destroy("POST", "/nodes/{node}/firewall/rules", "can open the node, or lock everybody out"),
    destroy("PUT", "/nodes/{node}/firewall/rules/{pos}", "can open the node, or lock everybody out"),
    destroy("POST", "/cluster/sdn/vnets/{vnet}/firewall/rules", "can open a network, or cut its guests off"),
    destroy("PUT", "/cluster/sdn/vnets/{vnet}/firewall/rules/{pos}", "can open a network, or cut its guests off"),
    destroy("POST", "/cluster/firewall/groups/{group}", "changes every firewall that uses the group"),
    destroy("PUT", "/cluster/firewall/groups/{group}/{pos}", "changes every firewall that uses the group"),
    when(&["rename"], destroy("POST", "/cluster/firewall/groups", "leaves the rules that use the group by its old name without one")),
    destroy("POST", "/cluster/firewall/aliases", "says which addresses rules let in"),
    destroy("PUT", "/cluster/firewall/aliases/{name}", "says which addresses rules let in"),
    destroy("POST", "/cluster/firewall/ipset", "says which addresses rules let in: management and blacklist by their name alone"),
    destroy("POST", "/cluster/firewall/ipset/{name}", "says which addresses rules let in"),
    destroy("PUT", "/cluster/firewall/ipset/{name}/{cidr}", "says which addresses rules let in"),
    destroy("POST", "/cluster/config", "makes a cluster of the node"),
    destroy("POST", "/cluster/config/join", "gives the node's own configuration up for a cluster's"),
    destroy("POST", "/cluster/config/nodes/{node}", "adds a node to the cluster"),

    // Who may do what.
    destroy("PUT", "/access/acl", "changes who may do what"),
    destroy("PUT", "/access/password", "changes a password"),
    destroy("POST", "/access/domains|groups|roles|users", "changes who may do what"),
    destroy("PUT", "/access/domains|groups|roles|users/{id}", "changes who may do what"),
    destroy("POST", "/access/domains/{realm}/sync", "makes users, and can remove them"),
    destroy("POST", "/cluster/jobs/realm-sync/{id}", "makes users, and can remove them"),
    destroy("PUT", "/cluster/jobs/realm-sync/{id}", "makes users, and can remove them"),
    destroy("PUT", "/access/tfa/{userid}/{id}", "changes a second factor"),
    destroy("PUT", "/access/users/{userid}/unlock-tfa", "opens an account that was locked"),
    destroy("PUT", "/access/users/{userid}/token/{tokenid}", "changes what a token may do"),
];
