//! Which cluster or server a path is for.

use std::sync::Arc;

use api_core::{Error, Request};
use estate::{NodeName, Product};
use serde_json::Value;

use super::library::Book;
use crate::{
    address::quoted,
    error::{Kind, ToolError},
    fleet::{Fleet, Pbs, Pve, Traits},
    report::{Cell, Table},
    tool::Cx,
};

/// A cluster, node or backup server.
#[derive(Clone)]
pub enum Place {
    /// Of Proxmox VE.
    Pve(Arc<Pve>),
    /// Of Proxmox Backup Server.
    Pbs(Arc<Pbs>),
}

// === impl Place ===

impl Place {
    /// The settings key.
    pub fn key(&self) -> &str {
        match self {
            Self::Pve(member) => member.key.as_str(),
            Self::Pbs(member) => member.key.as_str(),
        }
    }

    /// The product.
    pub fn product(&self) -> Product {
        match self {
            Self::Pve(_) => Product::Pve,
            Self::Pbs(_) => Product::Pbs,
        }
    }

    /// What the settings say of it.
    pub(super) fn traits(&self) -> &Traits {
        match self {
            Self::Pve(member) => &member.traits,
            Self::Pbs(member) => &member.traits,
        }
    }

    /// Sends a read.
    pub async fn read(&self, request: Request<Value>) -> Result<api_core::Page<Value>, Error> {
        match self {
            Self::Pve(member) => member.client.call_page(request).await,
            Self::Pbs(member) => member.client.call_page(request).await,
        }
    }

    /// The version, as the schema is kept by.
    pub(super) async fn version(&self) -> Result<String, Error> {
        match self {
            Self::Pve(member) => Ok(member.client.call(pve_client::version::get()).await?.version),
            Self::Pbs(member) => {
                let version = member.client.call(pbs_client::version::get()).await?;
                Ok(format!("{}.{}", version.version, version.release))
            }
        }
    }

    /// The version of the node that a path names, where the member has several.
    pub(super) async fn version_of(&self, node: &NodeName) -> Result<Option<String>, Error> {
        match self {
            Self::Pve(member) => {
                let asked = member.client.call(pve_client::nodes::version(node));
                Ok(Some(asked.await?.version))
            }
            Self::Pbs(_) => Ok(None),
        }
    }

    pub(super) async fn published_schema(&self) -> Result<bytes::Bytes, Error> {
        match self {
            Self::Pve(member) => member.client.published_schema().await,
            Self::Pbs(member) => member.client.published_schema().await,
        }
    }
}

/// Every member, of one product or of both.
pub(super) fn all(fleet: &Fleet, only: Option<Product>) -> Result<Vec<Place>, ToolError> {
    let (pve, pbs) = fleet.members_for(None)?;
    let places = pve.into_iter().map(Place::Pve).chain(pbs.into_iter().map(Place::Pbs));
    Ok(places.filter(|place| only.is_none_or(|only| place.product() == only)).collect())
}

/// The member that `cluster` names, or the only one that `has` what is asked for.
pub(super) async fn pick(
    cx: &Cx,
    cluster: Option<&str>,
    path: &str,
    has: impl Fn(&Book) -> bool,
) -> Result<(Place, Book), ToolError> {
    let (pve, pbs) = cx.fleet.members_for(cluster)?;
    let places: Vec<Place> =
        pve.into_iter().map(Place::Pve).chain(pbs.into_iter().map(Place::Pbs)).collect();
    let now = cx.now();
    if places.len() == 1 || cluster.is_some() {
        let place = places.into_iter().next();
        let place = place.ok_or_else(|| ToolError::not_found("no cluster or server is set up"))?;
        let book = cx.fleet.library().at(&place, path, now).await;
        return Ok((place, book));
    }
    let asked = places.iter().map(|place| cx.fleet.library().of(place, now));
    let books = futures::future::join_all(asked).await;
    let all = places.into_iter().zip(books);
    let (mut fitting, others): (Vec<_>, Vec<_>) = all.partition(|(_, book)| has(book));
    if fitting.len() == 1 {
        let (place, _) = fitting.remove(0);
        let book = cx.fleet.library().at(&place, path, now).await;
        return Ok((place, book));
    }
    let choices = if fitting.is_empty() { others } else { fitting };
    let mut table = Table::new("choices", &["cluster", "product", "version"]);
    for (place, book) in choices {
        table.push(vec![
            Cell::text(place.key()),
            Cell::text(place.product().as_str()),
            Cell::opt(book.version.clone()),
        ]);
    }
    let error = ToolError::new(format!(
        "several clusters and servers could mean {}: give cluster",
        quoted(path)
    ));
    Err(error.of_kind(Kind::Ambiguous).choices(table))
}
