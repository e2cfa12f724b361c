//! Numbers and addresses as they are written; where one is none, what to write instead.

use prunedb_registry::{Amount, NodeId};
use prunedb_validator::DoorAddress;

/// A cell's number.
pub(super) fn cell(text: &str) -> Result<u64, String> {
    let why =
        |_| format!("`{text}` is no cell: write its number, as `prunedb light cells` shows it");
    text.parse().map_err(why)
}

/// A node's number, as `4`, or as it is shown, `n4`.
pub(super) fn node(text: &str) -> Result<NodeId, String> {
    let number = text.strip_prefix('n').unwrap_or(text).parse();
    number
        .map(NodeId)
        .map_err(|_| format!("`{text}` is no node: write its number, such as 4 or n4"))
}

/// An amount of money.
pub(super) fn amount(text: &str) -> Result<Amount, String> {
    text.parse().map(Amount).map_err(|_| format!("`{text}` is no amount: write a whole number"))
}

/// How many epochs.
pub(super) fn epochs(text: &str) -> Result<u32, String> {
    text.parse().ok().filter(|&epochs| epochs > 0).ok_or_else(|| {
        format!("`{text}` is no number of epochs: write a whole number, 1 or more; `prunedb registry params` shows how long one is")
    })
}

/// Where a validator listens.
pub(super) fn validator(text: &str) -> Result<String, String> {
    text.parse().map(|door: DoorAddress| door.to_string()).map_err(|e| e.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_can_be_written_and_what_cannot_says_what_to_write() {
        assert_eq!((node("4"), node(&NodeId(4).to_string())), (Ok(NodeId(4)), Ok(NodeId(4))));
        assert_eq!((cell("7"), amount("0"), epochs("1")), (Ok(7), Ok(Amount(0)), Ok(1)));
        let door = format!("tls://[::1]:7700/{}", "ab".repeat(32));
        assert_eq!(validator(&door), Ok(door));
        let wrong = [
            cell("x").unwrap_err(),
            node("x4").unwrap_err(),
            amount("1.5").unwrap_err(),
            epochs("0").unwrap_err(),
            validator("host").unwrap_err(),
            validator(":1").unwrap_err(),
            validator("host:0").unwrap_err(),
        ];
        assert!(wrong.iter().all(|text| text.contains(": write ")), "{wrong:?}");
    }
}
