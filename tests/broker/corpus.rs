//! A real text of 16 MB: the sources and headers that are on the machine that builds.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// How long the text is, in bytes.
const CORPUS_BYTES: usize = 16 << 20;
/// A file with a longer line is left out: it would be a record above the client's limit.
const LINE_BYTES_MAX: usize = 256 << 10;
/// Files that are text by their name.
const EXTENSIONS: [&str; 9] = ["rs", "h", "c", "md", "txt", "toml", "py", "pl", "html"];

/// The text, the same for each call in one run and, on one machine, for each run.
pub fn text() -> &'static [u8] {
    static TEXT: OnceLock<Vec<u8>> = OnceLock::new();
    TEXT.get_or_init(build)
}

/// The text's lines without their ends. Joined with `\n` they are the text.
pub fn lines() -> impl Iterator<Item = &'static [u8]> {
    text().split(|byte| *byte == b'\n')
}

fn build() -> Vec<u8> {
    let cargo_home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let cargo_home = cargo_home.or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cargo")));
    let mut roots = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src")];
    roots.extend(cargo_home.map(|home| home.join("registry").join("src")));
    roots.extend([PathBuf::from("/usr/include"), PathBuf::from("/usr/share")]);
    let mut text = Vec::with_capacity(CORPUS_BYTES);
    for root in roots {
        gather(&root, &mut text);
    }
    assert!(!text.is_empty(), "this crate's own sources are text");
    while text.len() < CORPUS_BYTES {
        text.extend_from_within(..text.len().min(CORPUS_BYTES - text.len()));
    }
    text
}

/// Appends the text files below `folder` in the order of their names, until the text is long enough.
fn gather(folder: &Path, text: &mut Vec<u8>) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    let mut entries: Vec<_> = entries.filter_map(Result::ok).collect();
    entries.sort_by_key(std::fs::DirEntry::file_name);
    for entry in entries {
        if text.len() >= CORPUS_BYTES {
            return;
        }
        let (path, Ok(kind)) = (entry.path(), entry.file_type()) else { continue };
        // Links are left out: they can lead in circles.
        if kind.is_dir() {
            gather(&path, text);
        } else if kind.is_file() && is_text(&path) {
            let Ok(content) = std::fs::read(&path) else { continue };
            if content.split(|byte| *byte == b'\n').all(|line| line.len() <= LINE_BYTES_MAX) {
                text.extend_from_slice(&content[..content.len().min(CORPUS_BYTES - text.len())]);
            }
        }
    }
}

fn is_text(path: &Path) -> bool {
    path.extension().and_then(|name| name.to_str()).is_some_and(|name| EXTENSIONS.contains(&name))
}
