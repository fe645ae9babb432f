//! Find the soft links of a file, which the reader beneath passes over, or fails at in groups of the old form.
//!
//! The groups are walked from the root (HDF5 File Format Specification, version 3.0): symbol tables, as h5py writes them by
//! default, and compact links in object headers. Links kept in a fractal heap, as newer groups of more than eight members
//! may be, are not found. Damage ends the walk where it is met; it is told where the same bytes are read as data.

use std::collections::{BTreeMap, BTreeSet};

use hdf5_pure::{Source, Superblock};

/// Bytes that no block of these structures is longer than: larger ones are damage.
const LONGEST_BLOCK: u64 = 1 << 20;
/// Blocks that are read at most: a file has a handful for each group.
const MOST_BLOCKS: usize = 100_000;
/// Deeper than groups nest, even with the trees that list their members.
const DEEPEST: usize = 128;

/// Soft links by their paths, and where they point: paths too, from the root on.
pub(super) type SoftLinks = BTreeMap<String, String>;

/// What the walk meets, by path.
#[derive(Debug, Default)]
pub(super) struct Members {
    pub(super) links: SoftLinks,
    /// Whether each object with a header of its own is a dataset; a group otherwise. The root group is not among them.
    pub(super) objects: BTreeMap<String, bool>,
}

/// The members of a file that `source` reads.
pub(super) fn find(source: &dyn Source, superblock: &Superblock) -> Members {
    let (offset_size, length_size) = (superblock.offset_size.into(), superblock.length_size.into());
    let mut walk = Walk {
        source,
        base: superblock.base_address.get(),
        offset_size,
        length_size,
        blocks: 0,
        depth: 0,
        current: 0,
        visited: BTreeSet::new(),
        datasets: BTreeSet::new(),
        found: Members::default(),
    };
    if [offset_size, length_size].iter().all(|n| matches!(n, 2 | 4 | 8)) {
        walk.object(superblock.root_group_address, "");
    }
    walk.found
}

/// The path behind the soft links in `path`, as far as there are any.
pub(super) fn resolve(links: &SoftLinks, path: &str) -> String {
    // Each may point to another; a circle ends here too.
    const MOST: usize = 32;
    let mut path = path.to_owned();
    for _ in 0..MOST {
        let ends = path.match_indices('/').map(|(i, _)| i).chain([path.len()]);
        let link = ends
            .map(|end| path.split_at(end))
            .find_map(|(before, behind)| Some((links.get(before)?, behind)));
        match link {
            Some((target, behind)) => {
                let joined = format!("{target}{behind}");
                path = joined.trim_start_matches('/').to_owned();
            }
            None => break,
        }
    }
    path
}

struct Walk<'a> {
    source: &'a dyn Source,
    base: u64,
    offset_size: usize,
    length_size: usize,
    blocks: usize,
    depth: usize,
    /// The address of the header whose messages are gone through.
    current: u64,
    visited: BTreeSet<u64>,
    /// Addresses of headers that say where data are.
    datasets: BTreeSet<u64>,
    found: Members,
}

/// Bytes that are read from the front.
struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (front, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(front)
    }

    /// An unsigned little-endian integer of `size` bytes, at most eight.
    fn integer(&mut self, size: usize) -> Option<u64> {
        let bytes = self.take(size)?;
        Some(
            bytes
                .iter()
                .rev()
                .fold(0, |number, &byte| number << 8 | u64::from(byte)),
        )
    }
}

impl Walk<'_> {
    fn read(&mut self, address: u64, count: u64) -> Option<Vec<u8>> {
        self.blocks += 1;
        let start = address.checked_add(self.base)?;
        let inside = start.checked_add(count)? <= self.source.len();
        if !inside || count > LONGEST_BLOCK || self.blocks > MOST_BLOCKS {
            return None;
        }
        let mut bytes = vec![0; usize::try_from(count).ok()?];
        self.source.read_at(start, &mut bytes).ok()?;
        Some(bytes)
    }

    fn deeper(&mut self, walk: impl FnOnce(&mut Self) -> Option<()>) -> Option<()> {
        if self.depth == DEEPEST {
            return None;
        }
        self.depth += 1;
        let walked = walk(self);
        self.depth -= 1;
        walked
    }

    /// Notes the object at `address` under its path, and what is in it.
    fn member(&mut self, address: u64, path: &str) -> Option<()> {
        let walked = self.deeper(|walk| walk.object(address, path));
        let is_dataset = self.datasets.contains(&address);
        self.found.objects.insert(path.to_owned(), is_dataset);
        walked
    }

    /// Goes through the object header at `address`, of a group or not; nothing comes of one that is damaged.
    fn object(&mut self, address: u64, path: &str) -> Option<()> {
        if !self.visited.insert(address) {
            return None;
        }
        self.current = address;
        let start = self.read(address, 16)?;
        if &start[..4] == b"OHDR" {
            let flags = start[5];
            let times = if flags & 0x20 != 0 { 16 } else { 0 };
            let limits = if flags & 0x10 != 0 { 4 } else { 0 };
            let before = 6 + times + limits;
            let size = 1usize << (flags & 3);
            let length = Bytes(&self.read(address.checked_add(before)?, size as u64)?).integer(size)?;
            let messages = self.read(address.checked_add(before + size as u64)?, length)?;
            return self.messages(&messages, Some(flags), path);
        }
        let mut header = Bytes(&start);
        if header.integer(1)? != 1 {
            return None;
        }
        header.take(7)?;
        let length = header.integer(4)?;
        let messages = self.read(address.checked_add(16)?, length)?;
        self.messages(&messages, None, path)
    }

    /// Goes through the messages of an object header, of version 2 where there are `flags`.
    fn messages(&mut self, bytes: &[u8], flags: Option<u8>, path: &str) -> Option<()> {
        let mut bytes = Bytes(bytes);
        // What is inside a group is walked while its messages are.
        let object = self.current;
        loop {
            let (kind, size) = match flags {
                Some(flags) => {
                    let kind = bytes.integer(1)?;
                    let size = bytes.integer(2)?;
                    bytes.take(if flags & 4 != 0 { 3 } else { 1 })?;
                    (kind, size)
                }
                None => {
                    let kind = bytes.integer(2)?;
                    let size = bytes.integer(2)?;
                    bytes.take(4)?;
                    (kind, size)
                }
            };
            let mut message = Bytes(bytes.take(usize::try_from(size).ok()?)?);
            // Damage in one message says nothing of the others.
            self.current = object;
            let _ = match kind {
                0x06 => self.link(message, path),
                0x08 => {
                    self.datasets.insert(object);
                    None
                }
                0x10 => self.continuation(&mut message, flags, path),
                0x11 => self.symbol_table(&mut message, path),
                _ => None,
            };
        }
    }

    fn continuation(&mut self, message: &mut Bytes<'_>, flags: Option<u8>, path: &str) -> Option<()> {
        let (address, length) = (
            message.integer(self.offset_size)?,
            message.integer(self.length_size)?,
        );
        if !self.visited.insert(address) {
            return None;
        }
        let block = self.read(address, length)?;
        match flags {
            None => self.deeper(|walk| walk.messages(&block, flags, path)),
            Some(_) => {
                let inner = block.strip_prefix(b"OCHK")?;
                let inner = inner.get(..inner.len().checked_sub(4)?)?;
                self.deeper(|walk| walk.messages(inner, flags, path))
            }
        }
    }

    fn link(&mut self, mut message: Bytes<'_>, path: &str) -> Option<()> {
        message.take(1)?;
        let flags = message.integer(1)?;
        let kind = if flags & 8 != 0 { message.integer(1)? } else { 0 };
        message.take(if flags & 4 != 0 { 8 } else { 0 })?;
        message.take(if flags & 16 != 0 { 1 } else { 0 })?;
        let length = message.integer(1 << (flags & 3))?;
        let name = std::str::from_utf8(message.take(usize::try_from(length).ok()?)?).ok()?;
        match kind {
            0 => {
                let address = message.integer(self.offset_size)?;
                self.member(address, &joined(path, name))
            }
            1 => {
                let length = message.integer(2)?;
                let target = std::str::from_utf8(message.take(usize::try_from(length).ok()?)?).ok()?;
                self.keep(path, name, target)
            }
            _ => None,
        }
    }

    fn symbol_table(&mut self, message: &mut Bytes<'_>, path: &str) -> Option<()> {
        let (tree, heap) = (
            message.integer(self.offset_size)?,
            message.integer(self.offset_size)?,
        );
        let header = self.read(heap, 8 + (2 * self.length_size + self.offset_size) as u64)?;
        let mut header = Bytes(header.strip_prefix(b"HEAP")?);
        header.take(4)?;
        let length = header.integer(self.length_size)?;
        header.take(self.length_size)?;
        let names = header.integer(self.offset_size)?;
        let names = self.read(names, length)?;
        self.tree(tree, &names, path)
    }

    fn tree(&mut self, address: u64, names: &[u8], path: &str) -> Option<()> {
        if !self.visited.insert(address) {
            return None;
        }
        let (offset, length) = (self.offset_size, self.length_size);
        let header = self.read(address, 8)?;
        let mut bytes = Bytes(&header);
        match bytes.take(4)? {
            b"TREE" => {
                bytes.take(2)?;
                let entries = usize::try_from(bytes.integer(2)?).ok()?;
                let size = entries.checked_mul(offset + length)?;
                let first = (8 + 2 * offset + length) as u64;
                let block = self.read(address.checked_add(first)?, size as u64)?;
                for entry in block.chunks_exact(offset + length) {
                    let child = Bytes(entry).integer(offset)?;
                    // Damage in one branch says nothing of the others.
                    let _ = self.deeper(|walk| walk.tree(child, names, path));
                }
                Some(())
            }
            b"SNOD" => {
                bytes.take(2)?;
                let entries = usize::try_from(bytes.integer(2)?).ok()?;
                let size = 2 * offset + 24;
                let block = self.read(address.checked_add(8)?, entries.checked_mul(size)? as u64)?;
                for entry in block.chunks_exact(size) {
                    let mut entry = Bytes(entry);
                    let name = text(names, entry.integer(offset)?)?;
                    let object = entry.integer(offset)?;
                    let kind = entry.integer(4)?;
                    entry.take(4)?;
                    let _ = match kind {
                        2 => match text(names, entry.integer(4)?) {
                            Some(target) => self.keep(path, name, target),
                            None => None,
                        },
                        _ => self.member(object, &joined(path, name)),
                    };
                }
                Some(())
            }
            _ => None,
        }
    }

    fn keep(&mut self, path: &str, name: &str, target: &str) -> Option<()> {
        let target = match target.strip_prefix('/') {
            Some(whole) => whole.to_owned(),
            None => joined(path, target),
        };
        // `./a` is `a`, which is how others write links beside themselves.
        let parts: Vec<&str> = target
            .split('/')
            .filter(|part| !part.is_empty() && *part != ".")
            .collect();
        self.found.links.insert(joined(path, name), parts.join("/"));
        Some(())
    }
}

fn joined(path: &str, name: &str) -> String {
    if path.is_empty() {
        name.to_owned()
    } else {
        format!("{path}/{name}")
    }
}

/// The text in a heap from `start` to its zero.
fn text(heap: &[u8], start: u64) -> Option<&str> {
    let rest = heap.get(usize::try_from(start).ok()?..)?;
    let end = rest.iter().position(|&byte| byte == 0)?;
    std::str::from_utf8(&rest[..end]).ok()
}
