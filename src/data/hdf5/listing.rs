//! List all that a file holds.

use hdf5_pure::{Dataset, Group};

use super::file::Hdf5File;
use super::info::{DatasetInfo, GroupInfo};
use super::{message, soft_link};
use crate::{Error, Result};

/// Deeper than any real file nests its groups; a loop of links is deeper than any limit.
const MAX_DEPTH: usize = 32;

/// A member of the file.
enum Object {
    Group(Group),
    Dataset(Box<Dataset>),
}

impl Hdf5File {
    /// Everything known of every dataset, sorted by path.
    ///
    /// # Errors
    ///
    /// A damaged file, or links that run in a circle.
    pub fn datasets(&self) -> Result<Vec<DatasetInfo>> {
        let mut found = Vec::new();
        for (path, object) in self.objects()? {
            if let Object::Dataset(dataset) = object {
                found.push(self.info(&path, &dataset)?);
            }
        }
        for (link, target) in self.links() {
            // Those to groups, to other links and to nothing are passed over; the last two end somewhere, or do not.
            let resolved = soft_link::resolve(self.links(), target);
            let mut linked = found.iter().filter(|d| d.path == resolved && d.link_to.is_none());
            if let Some(dataset) = linked.next().cloned() {
                found.push(DatasetInfo {
                    path: link.clone(),
                    link_to: Some(resolved),
                    ..dataset
                });
            }
        }
        found.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(found)
    }

    /// Every group and its attributes, the root group first, sorted by path.
    ///
    /// # Errors
    ///
    /// As [`datasets`](Self::datasets).
    pub fn groups(&self) -> Result<Vec<GroupInfo>> {
        let mut found = Vec::new();
        for (path, object) in self.objects()? {
            if let Object::Group(group) = object {
                let attributes = self.group_attributes(&group)?;
                found.push(GroupInfo { path, attributes });
            }
        }
        found.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(found)
    }

    pub(super) fn dataset_paths(&self) -> Result<Vec<String>> {
        let datasets = |(path, object)| matches!(object, Object::Dataset(_)).then_some(path);
        let mut paths: Vec<String> = self.objects()?.into_iter().filter_map(datasets).collect();
        paths.extend(self.links().keys().cloned());
        paths.sort();
        Ok(paths)
    }

    /// Every group and dataset by path, the root group first.
    fn objects(&self) -> Result<Vec<(String, Object)>> {
        let mut all = Vec::new();
        match self.collect(self.file.root(), "", 0, &mut all) {
            Ok(()) => return Ok(all),
            Err(e) if self.links().is_empty() => return Err(e),
            // In a group of the old form a soft link stops the reader beneath: its members are opened by their paths.
            Err(_) => all.clear(),
        }
        all.push((String::new(), Object::Group(self.file.root())));
        for (path, is_dataset) in &self.members().objects {
            let fail = |e| message::of_dataset(&self.path, path, &e);
            let object = if *is_dataset {
                Object::Dataset(Box::new(self.file.dataset(path).map_err(fail)?))
            } else {
                Object::Group(self.file.group(path).map_err(fail)?)
            };
            all.push((path.clone(), object));
        }
        Ok(all)
    }

    fn collect(
        &self,
        group: Group,
        prefix: &str,
        depth: usize,
        all: &mut Vec<(String, Object)>,
    ) -> Result<()> {
        let fail = |e| message::of_file(&self.path, &e);
        if depth > MAX_DEPTH {
            return Err(Error::file(
                &self.path,
                format!("the groups nest more than {MAX_DEPTH} deep: its links probably run in a circle"),
            ));
        }
        let datasets = group.iter_datasets().map_err(fail)?;
        let groups = group.iter_groups().map_err(fail)?;
        all.push((prefix.to_owned(), Object::Group(group)));
        for (name, dataset) in datasets {
            all.push((join(prefix, &name), Object::Dataset(Box::new(dataset))));
        }
        for (name, inner) in groups {
            self.collect(inner, &join(prefix, &name), depth + 1, all)?;
        }
        Ok(())
    }
}

fn join(prefix: &str, name: &str) -> String {
    if prefix.is_empty() {
        name.to_owned()
    } else {
        format!("{prefix}/{name}")
    }
}
