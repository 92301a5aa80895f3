//! The one place that names the SDK.

use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::sync::CancellationToken;

use crate::app::App;
use crate::serve::ServeError;

pub(crate) async fn serve<R, W>(
    _app: App,
    _input: R,
    _output: W,
    _shutdown: CancellationToken,
) -> Result<(), ServeError>
where
    R: AsyncRead + Send + Unpin + 'static,
    W: AsyncWrite + Send + Unpin + 'static,
{
    Ok(())
}
