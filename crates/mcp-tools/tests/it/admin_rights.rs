//! `access_explain` against the simulator's own decisions: what it says is allowed is allowed, and
//! what it says is not is refused, for any access control list.

use std::collections::BTreeSet;

use proxmox_sim::{Sim, SimConfig};
use serde_json::{Value, json};

use crate::estate::Estate;

/// A small generator of choices that are the same in every run (xorshift).
struct Dice(u64);

impl Dice {
    fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        &from[(self.0 % from.len() as u64) as usize]
    }
}

/// The same server asked as somebody.
fn client(sim: &Sim, target: usize, id: &str, secret: &str) -> pve_client::Client {
    use api_core::endpoint::FileContent;

    let target = &sim.targets()[target];
    let ca = target.ca_pem.clone();
    let files = move |_: &std::path::Path| -> std::io::Result<FileContent> {
        Ok(FileContent { bytes: ca.clone().into_bytes(), world_readable: Some(false) })
    };
    let urls: Vec<_> = target.nodes.iter().map(|node| node.url.clone()).collect();
    let table = json!({"endpoints": urls, "token_id": id, "token": secret, "ca_file": "ca.pem"});
    let config: pve_client::Config = serde_json::from_value(table).expect("a table");
    let options = config.validate(&target.key, &files).expect("a valid table").value;
    pve_client::Client::connect(&options).expect("a client")
}

const PATHS: &[&str] = &[
    "/",
    "/access",
    "/access/groups",
    "/nodes",
    "/nodes/birch",
    "/nodes/cedar",
    "/pool",
    "/pool/lab",
    "/pool/staging",
    "/storage",
    "/storage/nas",
    "/storage/local",
    "/vms",
    "/vms/100",
    "/vms/120",
    "/vms/124",
    "/vms/138",
];
const ROLES: &[&str] = &[
    "Administrator",
    "NoAccess",
    "PVEAdmin",
    "PVEAuditor",
    "PVEVMUser",
    "PVEVMAdmin",
    "PVEDatastoreUser",
    "PVEPoolUser",
];

#[tokio::test(flavor = "multi_thread")]
async fn what_is_said_to_be_allowed_is_allowed_and_nothing_else() {
    let estate = Estate::of(SimConfig::fast(), "operator", 64 * 1024).await;
    let operator = estate.sim.targets()[0].token("operator");
    let admin = client(&estate.sim, 0, &operator.id, &operator.secret);
    use pve_client::access;
    let mut secrets = Vec::new();
    for (user, name, separate) in
        [("anna@pve", "own", true), ("anna@pve", "same", false), ("olaf@pve", "own", true)]
    {
        let options = access::TokenParams { separate: Some(separate), ..Default::default() };
        let token = admin.call(access::create_token(user, name, options)).await.expect("a token");
        secrets.push((token.id, token.secret));
    }
    let who = [
        "anna@pve",
        "olaf@pve",
        "anna@pve!own",
        "anna@pve!same",
        "olaf@pve!own",
        "mcp@pve!readonly",
    ];
    let mut dice = Dice(0x5eed_1234);
    let mut asked = 0;
    for round in 0..6 {
        // Anything goes: users, tokens and groups, on any path, reaching down or not.
        for _ in 0..6 {
            let (path, role) = (*dice.pick(PATHS), *dice.pick(ROLES));
            let one = |name: &str| [name].into_iter().collect();
            let mut options = access::AclParams {
                path: path.to_owned(),
                roles: one(role),
                propagate: Some(*dice.pick(&[true, true, false])),
                ..Default::default()
            };
            match *dice.pick(&[
                "developers",
                "ops",
                "anna@pve",
                "olaf@pve",
                "anna@pve!own",
                "olaf@pve!own",
            ]) {
                group if !group.contains('@') => options.groups = one(group),
                token if token.contains('!') => options.tokens = one(token),
                user => options.users = one(user),
            }
            admin.call(access::update_acl(options)).await.expect("a line");
        }
        for who in who {
            for path in PATHS {
                let asks = access::permissions(Some(who), Some(path));
                let told = admin.call(asks).await.expect("permissions");
                let wanted: BTreeSet<&str> = told
                    .get(*path)
                    .into_iter()
                    .flat_map(|held| held.keys().map(String::as_str))
                    .collect();
                let args = json!({"cluster": "lab", "who": who, "path": path});
                let answer = estate.ask("access_explain", args).await;
                let said = answer.object.get("privileges").and_then(Value::as_array);
                let said: BTreeSet<&str> =
                    said.into_iter().flatten().filter_map(Value::as_str).collect();
                assert_eq!(said, wanted, "round {round}: {who} on {path}: {}", answer.text);
                assert_eq!(answer.object["confirmed"], true, "{}", answer.text);
                asked += 1;
            }
        }
        // And what it says is what becomes of calls.
        for (id, secret) in &secrets {
            use secrecy::ExposeSecret as _;
            let user = client(&estate.sim, 0, id, secret.expose_secret());
            for (node, vmid) in [("birch", 120), ("cedar", 124)] {
                let (node, vmid) =
                    (node.parse().expect("a node"), vmid.to_string().parse().expect("an id"));
                let got = user.call(pve_client::qemu::status(&node, vmid)).await;
                let args = json!({"cluster": "lab", "who": id, "path": format!("/vms/{vmid}"), "privilege": "VM.Audit"});
                let answer = estate.ask("access_explain", args).await;
                assert_eq!(answer.object["allowed"], got.is_ok(), "{}: {got:?}", answer.text);
            }
        }
    }
    assert_eq!(asked, 6 * who.len() * PATHS.len());
}
