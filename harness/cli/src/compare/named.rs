//! Parses the names of contenders on the command line.

use std::path::PathBuf;
use std::str::FromStr;

use evidence::competitor::Competitor;
use vexfs_uapi::Kind;

/// A contender named on the command line.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Named {
    Engine(Kind),
    Fuse(Kind),
    Directory(PathBuf, Kind),
    /// `ef_search`, and the server's address.
    ChromaDb(Option<u32>, Option<String>),
    /// The server's address.
    Qdrant(Option<String>),
}

impl FromStr for Named {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let competitor = |id: &str| Competitor::ALL.into_iter().find(|one| one.id() == id);
        let (text, url) = match text.split_once('=') {
            Some((name, url)) if competitor(name.split(':').next().unwrap_or(name)).is_some() => {
                (name, Some(server(url)?))
            }
            _ => (text, None),
        };
        let (name, detail) = text.rsplit_once(':').unwrap_or((text, ""));
        let kind = || match detail {
            "" => Ok(Kind::Flat),
            name => Kind::of_name(name)
                .ok_or_else(|| format!("no kind of index is called {name}; see --help")),
        };
        match (competitor(name), name, detail) {
            (Some(Competitor::Chromadb), _, "") => Ok(Named::ChromaDb(None, url)),
            (Some(Competitor::Chromadb), _, ef) => match ef.parse() {
                Ok(ef) => Ok(Named::ChromaDb(Some(ef), url)),
                Err(_) => Err(format!("ef_search is a number, and not {ef}")),
            },
            (Some(Competitor::Qdrant), _, "") => Ok(Named::Qdrant(url)),
            (_, "engine", _) => kind().map(Named::Engine),
            (_, "fuse", _) => kind().map(Named::Fuse),
            (_, path, _) if path.contains('/') => {
                kind().map(|kind| Named::Directory(PathBuf::from(path), kind))
            }
            _ => Err(format!("no contender is called {text}; see --help")),
        }
    }
}

/// Checks the address of a server.
fn server(url: &str) -> Result<String, String> {
    let host = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://"));
    match host {
        Some(host) if !host.is_empty() => Ok(url.to_owned()),
        _ => Err(format!("a server's address is like http://127.0.0.1:8000, and not {url:?}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contenders_have_names() {
        let named = |text: &str| text.parse::<Named>();
        assert_eq!(named("engine"), Ok(Named::Engine(Kind::Flat)));
        assert_eq!(named("fuse:hnsw"), Ok(Named::Fuse(Kind::Hnsw)));
        assert_eq!(named("/mnt/v:pq"), Ok(Named::Directory("/mnt/v".into(), Kind::Pq)));
        assert_eq!(named("./v"), Ok(Named::Directory("./v".into(), Kind::Flat)));
        assert_eq!(named("chromadb:256"), Ok(Named::ChromaDb(Some(256), None)));
        assert_eq!(named("qdrant"), Ok(Named::Qdrant(None)));
        let url = "http://127.0.0.1:8000";
        let server = Some(url.to_owned());
        assert_eq!(named(&format!("chromadb={url}")), Ok(Named::ChromaDb(None, server.clone())));
        assert_eq!(
            named(&format!("chromadb:256={url}")),
            Ok(Named::ChromaDb(Some(256), server.clone()))
        );
        assert_eq!(named(&format!("qdrant={url}")), Ok(Named::Qdrant(server)));
        let wrong = ["", "milvus", "fuse:tree", "chromadb:much", "qdrant:1", "qdrant=127.0.0.1"];
        for wrong in wrong {
            assert!(named(wrong).is_err(), "{wrong}");
        }
    }
}
