//! Storage as work: contents, uploads, downloads, what fills and when.

mod content;
mod delete;
mod download;
mod forecast;
mod refs;
mod spot;
mod trend;
mod upload;

use crate::tool::EstateTool;

/// The tools, in the order of their list.
pub(super) static TOOLS: &[&dyn EstateTool] = &[
    &content::StorageContent,
    &forecast::StorageForecast,
    &download::StorageDownload,
    &upload::StorageUpload,
    &delete::VolumeDelete,
];
