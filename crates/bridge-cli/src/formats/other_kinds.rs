//! Files that came in place of an array file: recognised by how they begin.

use crate::failure::{Failure, Outcome};

/// Where tar archives say what they are.
const TAR: (usize, &[u8]) = (257, b"ustar");

/// Fails for a Git LFS pointer, a web page, a tar archive, and what gzip compressed.
pub(super) fn refuse(bytes: &[u8]) -> Outcome<()> {
    if bytes.starts_with(b"version https://git-lfs") {
        return Err(Failure::new("the file is a Git LFS pointer")
            .why("a few lines of text stand in its place: the file itself is kept elsewhere")
            .remedy("fetch it, in its repository: git lfs pull"));
    }
    if bytes.starts_with(&[0x1f, 0x8b, 8]) {
        return Err(Failure::new("the file is compressed with gzip")
            .why("array files are read where they lie")
            .remedy("expand it first: gunzip < FILE > EXPANDED"));
    }
    if bytes.get(TAR.0..).is_some_and(|rest| rest.starts_with(TAR.1))
        && bytes.len().is_multiple_of(512)
    {
        return Err(Failure::new("the file is a tar archive")
            .why("the files in it are not read where they lie")
            .remedy("unpack it first: tar -xf FILE"));
    }
    if is_web_page(bytes) {
        return Err(Failure::new("the file is a web page")
            .why("a server sent it in place of the file, to log in or to say what is wrong")
            .remedy("open it in a browser to see what it says, and download the file again"));
    }
    Ok(())
}

/// Fails for a pickle of Python that is no file of PyTorch: of one that is of no format known here.
pub(super) fn refuse_pickle(bytes: &[u8]) -> Outcome<()> {
    if bytes.ends_with(b".") && matches!(bytes, [0x80, 2..=5, ..]) {
        return Err(Failure::new("the file is a pickle of Python, and not one of torch.save")
            .why("what is in it can only be known by running it")
            .remedy(
                "if you trust the file, in Python: \
                 torch.save(pickle.load(open(path, \"rb\")), \"unpickled.pt\")",
            ));
    }
    Ok(())
}

fn is_web_page(bytes: &[u8]) -> bool {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes).trim_ascii_start();
    let begins =
        |with: &[u8]| bytes.get(..with.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(with));
    begins(b"<!doctype html") || begins(b"<html")
}
