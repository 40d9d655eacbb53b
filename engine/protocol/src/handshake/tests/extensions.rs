//! The grammar of RFC 6455 §9.1.

use super::*;
use crate::handshake::extensions::{Extensions, NotAList};

/// The list as the header would name it in its shortest form, values in angle brackets.
fn read(list: &[u8]) -> Result<String, NotAList> {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let mut elements = Vec::new();
    for extension in Extensions::new(list) {
        let extension = extension?;
        let mut element = text(extension.name);
        for parameter in extension.parameters() {
            element.push(';');
            element.push_str(&text(parameter.name));
            if let Some(value) = parameter.value {
                let value: Vec<u8> = value.bytes().collect();
                element.push_str(&format!("=<{}>", text(&value)));
            }
        }
        elements.push(element);
    }
    Ok(elements.join(","))
}

#[test]
fn lists() {
    let cases = [
        // The examples of §9.1.
        ("foo", "foo"),
        ("foo, bar; baz=2", "foo,bar;baz=<2>"),
        ("deflate-stream", "deflate-stream"),
        (
            "mux; max-channels=4; flow-control, deflate-stream",
            "mux;max-channels=<4>;flow-control,deflate-stream",
        ),
        ("private-extension", "private-extension"),
        // Nothing, and elements that are nothing.
        ("", ""),
        (" \t", ""),
        (" , ,,\t", ""),
        (",a,,b,", "a,b"),
        // Blanks around every separator.
        ("a;b=1;c", "a;b=<1>;c"),
        (" \ta ; b = 1\t;\tc , d ", "a;b=<1>;c,d"),
        ("a; b=\t\"1\" ", "a;b=<1>"),
        // Quotes and escapes stand for what they hold.
        (r#"a; b="1""#, "a;b=<1>"),
        (r#"a; b="\1\5""#, "a;b=<15>"),
        (r#"a; b="x\y"; c, d"#, "a;b=<xy>;c,d"),
        // Repetition and unknown names are no matter of the grammar; every character of a token is.
        ("a; b; b=2, a", "a;b;b=<2>,a"),
        ("!#$%&'*+-.^_`|~09azAZ", "!#$%&'*+-.^_`|~09azAZ"),
    ];
    for (list, expected) in cases {
        assert_eq!(
            read(list.as_bytes()).as_deref(),
            Ok(expected),
            "{list:?} is a list"
        );
    }
}

#[test]
fn what_is_no_list() {
    let cases: [&[u8]; 24] = [
        b";",
        b"=",
        b"\"a\"",
        b"a b",
        b"a/1",
        b"a;",
        b"a; ",
        b"a;;b",
        b"a; b=",
        b"a; b=, c",
        b"a; b==1",
        b"a; =1",
        b"a=1",
        b"a; b=1 2",
        b"a; b=1=2",
        // Quotes without an end, around nothing, and around what is no token.
        b"a; b=\"1",
        b"a; b=\"1\\\"",
        b"a; b=\"\"",
        b"a; b=\"1 2\"",
        b"a; b=\"1,2\"",
        b"a; b=\"\\\\\"",
        b"a; b=\"1\"2",
        // What is not ASCII.
        b"caf\xc3\xa9",
        b"a; b=\xff",
    ];
    for list in cases {
        let text = String::from_utf8_lossy(list);
        assert_eq!(read(list), Err(NotAList), "{text:?}");
        let later = [b"good; c=1, ", list, b", good"].concat();
        assert_eq!(read(&later), Err(NotAList), "{text:?} after others");
        let mut elements = Extensions::new(&later);
        assert!(elements.next().is_some_and(|element| element.is_ok()));
        assert!(elements.any(|element| element.is_err()));
        assert_eq!(elements.next(), None, "{text:?}: nothing after an error");
    }
}

proptest! {
    /// What is written in any of the allowed forms is read as what was meant.
    #[test]
    fn any_form_of_a_list_is_read(
        elements in prop::collection::vec(
            (
                "[a-z!#$~-]{1,6}",
                prop::collection::vec(("[a-z_]{1,6}", prop::option::of("[a-z0-9]{1,4}")), 0..4),
            ),
            0..4,
        ),
        blanks in prop::collection::vec("[ \t]{0,2}", 1..8),
        quotes in prop::collection::vec(0..3_u8, 1..8),
    ) {
        let mut blanks = blanks.iter().cycle();
        let mut blank = || blanks.next().unwrap().as_str();
        let mut quotes = quotes.iter().cycle();
        let (mut written, mut expected) = (Vec::new(), Vec::new());
        for (name, parameters) in &elements {
            let mut element = format!("{}{name}{}", blank(), blank());
            let mut plain = name.clone();
            for (name, value) in parameters {
                element.push_str(&format!(";{}{name}{}", blank(), blank()));
                plain.push_str(&format!(";{name}"));
                let Some(value) = value else { continue };
                let value_written = match quotes.next().unwrap() {
                    0 => value.clone(),
                    1 => format!("\"{value}\""),
                    _ => format!("\"\\{value}\""),
                };
                element.push_str(&format!("={}{value_written}{}", blank(), blank()));
                plain.push_str(&format!("=<{value}>"));
            }
            written.push(element);
            expected.push(plain);
        }
        let expected = expected.join(",");
        prop_assert_eq!(read(written.join(",").as_bytes()), Ok(expected));
    }
}
