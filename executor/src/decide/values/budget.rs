//! How much may the documents of one bundle hold? Aliases make a small document a huge one, so
//! every use of one is paid before it is copied. Pure.

use serde_json::Value;

use super::Problem;

/// How deep maps and lists may nest.
pub(super) const MAX_DEPTH: usize = 64;

/// What the documents of one bundle may still hold. Aliases count as often as they are used.
#[derive(Debug)]
pub(super) struct Budget {
    nodes: usize,
    bytes: usize,
}

impl Default for Budget {
    fn default() -> Self {
        Self {
            nodes: 100_000,
            bytes: 8 * 1024 * 1024,
        }
    }
}

impl Budget {
    /// Takes away `nodes` nodes with `bytes` bytes of text.
    pub(super) fn charge(&mut self, nodes: usize, bytes: usize) -> Result<(), Problem> {
        self.nodes = self.nodes.checked_sub(nodes).ok_or(Problem::TooComplex)?;
        self.bytes = self.bytes.checked_sub(bytes).ok_or(Problem::TooComplex)?;
        Ok(())
    }

    /// Takes away what a copy of `value` holds, which may nest `depth` levels deep.
    pub(super) fn charge_copy(&mut self, value: &Value, depth: usize) -> Result<(), Problem> {
        self.charge(1, value.as_str().map_or(0, str::len))?;
        match value {
            Value::Array(items) => {
                let depth = depth.checked_sub(1).ok_or(Problem::TooDeep)?;
                items
                    .iter()
                    .try_for_each(|item| self.charge_copy(item, depth))
            }
            Value::Object(entries) => {
                let depth = depth.checked_sub(1).ok_or(Problem::TooDeep)?;
                entries.iter().try_for_each(|(key, value)| {
                    self.charge(1, key.len())?;
                    self.charge_copy(value, depth)
                })
            }
            _ => Ok(()),
        }
    }
}
