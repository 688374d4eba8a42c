//! Answers of the driver to questions about its objects: bytes, read as what they are.

use std::ffi::c_void;

/// A number of 4 or 8 bytes; 0 where there is no answer.
pub(crate) fn number(bytes: &[u8]) -> u64 {
    match (<[u8; 8]>::try_from(bytes), <[u8; 4]>::try_from(bytes)) {
        (Ok(bytes), _) => u64::from_ne_bytes(bytes),
        (_, Ok(bytes)) => u32::from_ne_bytes(bytes).into(),
        _ => 0,
    }
}

/// A handle; null where there is no answer.
pub(crate) fn handle(bytes: &[u8]) -> *mut c_void {
    let address = usize::try_from(number(bytes)).unwrap_or(0);
    std::ptr::with_exposed_provenance_mut(address)
}

/// A text, up to its end.
pub(crate) fn text(bytes: &[u8]) -> String {
    let text = bytes.split(|&byte| byte == 0).next().unwrap_or_default();
    String::from_utf8_lossy(text).trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read_at_their_own_width() {
        assert_eq!(number(&7_u32.to_ne_bytes()), 7);
        assert_eq!(number(&(1_u64 << 40).to_ne_bytes()), 1 << 40);
        assert_eq!((number(&[]), number(&[1, 2, 3])), (0, 0));
        assert!(handle(&[]).is_null());
        assert_eq!(text(b" PoCL 3.1 \0rest"), "PoCL 3.1");
    }
}
