//! A form that ends with a file, as `multipart/form-data`: how files are uploaded.
//!
//! Only the framing: fields first, the file last, as browsers write it and as PVE wants it. The
//! file streams through; nothing of it is kept.

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use http::HeaderValue;

use crate::{Body, ByteStream, Sent, TransportError, TransportErrorKind};

/// A form that is being written: fields in order, then [`Form::file`].
#[derive(Debug)]
pub struct Form {
    boundary: String,
    head: String,
}

// === impl Form ===

impl Form {
    /// A form without fields.
    pub fn new() -> Self {
        // 128 random bits: whoever chose the file's bytes cannot have put them there.
        Self { boundary: format!("{:032x}", rand::random::<u128>()), head: String::new() }
    }

    /// What the request must say of its body.
    pub fn content_type(&self) -> HeaderValue {
        HeaderValue::try_from(format!("multipart/form-data; boundary={}", self.boundary))
            .expect("hexadecimal digits can stand in a header")
    }

    /// Adds a field.
    #[must_use]
    pub fn field(mut self, name: &str, value: &str) -> Self {
        self.begin(name);
        self.head += "\r\n\r\n";
        self.head += value;
        self.head += "\r\n";
        self
    }

    /// Ends the form with a file of exactly `size` bytes. Content that turns out to be of another
    /// size ends the body with an error, so that no server takes a part for the whole.
    pub fn file(mut self, name: &str, file_name: &str, content: ByteStream, size: u64) -> Body {
        self.begin(name);
        self.head += "; filename=\"";
        self.head += &escaped(file_name);
        self.head += "\"\r\nContent-Type: application/octet-stream\r\n\r\n";
        let head = Bytes::from(self.head);
        let tail = Bytes::from(format!("\r\n--{}--\r\n", self.boundary));
        let whole = head.len() as u64 + size + tail.len() as u64;
        let [head, tail] = [head, tail].map(|piece| stream::iter([Ok(piece)]));
        let body = head.chain(exactly(content, size)).chain(tail);
        Body::Stream(Box::pin(body), Some(whole))
    }

    fn begin(&mut self, name: &str) {
        self.head += "--";
        self.head += &self.boundary;
        self.head += "\r\nContent-Disposition: form-data; name=\"";
        self.head += &escaped(name);
        self.head += "\"";
    }
}

impl Default for Form {
    fn default() -> Self {
        Self::new()
    }
}

/// What would end the quoted text or the line, as browsers write it there.
fn escaped(text: &str) -> String {
    text.replace('"', "%22").replace('\r', "%0D").replace('\n', "%0A")
}

/// The content, with an error where it is not of this size.
fn exactly(content: ByteStream, size: u64) -> ByteStream {
    let wrong = move |how: &str| {
        TransportError::new(TransportErrorKind::RequestBody, Sent::Maybe, "")
            .with_source(format!("the content is {how} than the {size} bytes that were announced"))
    };
    let pieces = stream::try_unfold((content, size), move |(mut content, left)| async move {
        match content.try_next().await? {
            None if left == 0 => Ok(None),
            None => Err(wrong("shorter")),
            Some(piece) => {
                let left = left.checked_sub(piece.len() as u64);
                Ok(Some((piece, (content, left.ok_or_else(|| wrong("longer"))?))))
            }
        }
    });
    Box::pin(pieces)
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;
    use proptest::prelude::*;
    use stdx::Chain;

    use super::*;

    fn content(pieces: &[Vec<u8>]) -> ByteStream {
        let pieces: Vec<_> = pieces.iter().map(|piece| Ok(piece.clone().into())).collect();
        Box::pin(stream::iter(pieces))
    }

    fn all_of(body: Body) -> Result<Bytes, TransportError> {
        body.collect(1 << 20).now_or_never().expect("every piece is at hand")
    }

    fn collected(body: Body) -> (Vec<u8>, u64) {
        let Body::Stream(_, Some(size)) = &body else { panic!("a stream of known size") };
        let size = *size;
        (all_of(body).expect("the whole body").to_vec(), size)
    }

    fn cut<'a>(bytes: &'a [u8], at: &[u8]) -> Option<(&'a [u8], &'a [u8])> {
        let found = bytes.windows(at.len()).position(|window| window == at)?;
        Some((&bytes[..found], &bytes[found + at.len()..]))
    }

    /// The parts of a form, read as a server does: disposition line, further head, content.
    fn parsed(content_type: &str, body: &[u8]) -> Vec<(String, String, Vec<u8>)> {
        let boundary = content_type.strip_prefix("multipart/form-data; boundary=").expect("a form");
        let mut rest = body.strip_prefix(format!("--{boundary}").as_bytes()).expect("a boundary");
        let mut parts = Vec::new();
        while rest != b"--\r\n" {
            let part = rest.strip_prefix(b"\r\n").expect("a line's end");
            let (head, after) = cut(part, b"\r\n\r\n").expect("a head");
            let (content, next) =
                cut(after, format!("\r\n--{boundary}").as_bytes()).expect("the part's end");
            let head = String::from_utf8(head.to_vec()).expect("text");
            let (disposition, more) = head.split_once("\r\n").unwrap_or((&head, ""));
            parts.push((disposition.to_owned(), more.to_owned(), content.to_vec()));
            rest = next;
        }
        parts
    }

    #[test]
    fn a_form_is_written_as_browsers_do() {
        let mut form = Form::new();
        form.boundary = "B".to_owned();
        let form = form.field("content", "iso");
        assert_eq!(form.content_type(), "multipart/form-data; boundary=B");
        let (body, size) =
            collected(form.file("filename", "a\"b.iso", content(&[b"01".into()]), 2));
        assert_eq!(body.len() as u64, size);
        expect_test::expect![[r#"
            --B
            Content-Disposition: form-data; name="content"

            iso
            --B
            Content-Disposition: form-data; name="filename"; filename="a%22b.iso"
            Content-Type: application/octet-stream

            01
            --B--
        "#]]
        .assert_eq(&String::from_utf8(body).expect("text").replace("\r\n", "\n"));
        assert_ne!(Form::new().boundary, Form::new().boundary);
    }

    #[test]
    fn content_of_another_size_is_an_error() {
        for (pieces, size, how) in [
            (vec![b"012".to_vec(), b"3".to_vec()], 3, "longer"),
            (vec![b"01".to_vec()], 3, "shorter"),
            (vec![], 1, "shorter"),
        ] {
            let body = Form::new().file("filename", "x", content(&pieces), size);
            let error = all_of(body).expect_err("another size");
            assert_eq!(error.kind(), TransportErrorKind::RequestBody);
            assert!(Chain(&error).to_string().contains(how), "{}", Chain(&error));
        }
    }

    proptest! {
        #[test]
        fn what_is_framed_parses_back(
            fields in prop::collection::vec((".*", "(?s).*"), 0..4),
            file_name in "(?s).*",
            pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..4),
        ) {
            let form = fields.iter().fold(Form::new(), |form, (name, value)| form.field(name, value));
            let kind = form.content_type();
            let size = pieces.iter().map(Vec::len).sum::<usize>();
            let (body, whole) =
                collected(form.file("filename", &file_name, content(&pieces), size as u64));
            prop_assert_eq!(body.len() as u64, whole);
            let parts = parsed(kind.to_str().expect("text"), &body);
            prop_assert_eq!(parts.len(), fields.len() + 1);
            for ((name, value), (disposition, more, content)) in fields.iter().zip(&parts) {
                let expected = format!("Content-Disposition: form-data; name=\"{}\"", escaped(name));
                prop_assert_eq!(disposition, &expected);
                prop_assert!(more.is_empty() && content == value.as_bytes());
            }
            let (disposition, more, content) = &parts[fields.len()];
            let name = disposition.split("filename=\"").nth(1).expect("a file name");
            // The name is quoted to its end, and nothing in it ends the quote before.
            let name = name.strip_suffix('"').expect("a quote");
            prop_assert!(!name.contains(['"', '\r', '\n']));
            prop_assert_eq!(name, escaped(&file_name));
            prop_assert_eq!(more, "Content-Type: application/octet-stream");
            prop_assert_eq!(content, &pieces.concat());
        }
    }
}
