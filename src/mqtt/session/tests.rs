//! What the end of a connection says of what was sent on it.

use super::*;

#[test]
fn only_what_a_publish_can_cause_is_blamed_on_one() {
    let caused = [0x81, 0x82, 0x83, 0x90, 0x94, 0x95, 0x99, 0x9A, 0x9B];
    for code in 0..=0xFF {
        let expected = if caused.contains(&code) { Blame::Likely } else { Blame::None };
        assert_eq!(Ending::Disconnected(Reason::of(code)).blame(), expected, "{}", Reason::of(code));
    }
    assert_eq!(Ending::Closed.blame(), Blame::Likely, "3.1.1 has no other way to say it");
    assert_eq!(Ending::Io(io::ErrorKind::ConnectionReset.into()).blame(), Blame::Possible);
    assert_eq!(Ending::Silent(Duration::ZERO).blame(), Blame::None);
}
