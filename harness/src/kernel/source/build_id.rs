//! Build IDs: what an image and its debug information have in common.

use std::fs::File;
use std::path::Path;

use object::read::ReadCache;
use object::{Object, ObjectSection as _};

use super::super::{Error, digest, image};

/// The build ID of a kernel image, in hexadecimal digits; `None` if it has none.
pub(super) fn of_image(image: &Path) -> Result<Option<String>, Error> {
    let vmlinux = image::vmlinux(image).map_err(Error::Image)?;
    let file = vmlinux.as_deref().map(object::File::parse);
    Ok(file.and_then(Result::ok).as_ref().and_then(build_id))
}

/// Checks that `file`, which came from `url`, is debug information with this build ID.
pub(super) fn check(file: &Path, url: &str, id: &str) -> Result<(), Error> {
    let content = ReadCache::new(File::open(file).map_err(Error::io("open", file))?);
    let parsed = object::File::parse(&content).ok();
    let has_debug_info = parsed.as_ref().is_some_and(|file| {
        let section = file.section_by_name(".debug_info");
        section.is_some_and(|section| section.size() > 0)
    });
    if has_debug_info && parsed.as_ref().and_then(build_id).as_deref() == Some(id) {
        return Ok(());
    }
    Err(Error::WrongDebugImage {
        url: url.to_owned(),
        build_id: id.to_owned(),
    })
}

fn build_id<'data>(file: &impl Object<'data>) -> Option<String> {
    let id = file.build_id().ok().flatten()?;
    Some(digest::hex(id))
}
