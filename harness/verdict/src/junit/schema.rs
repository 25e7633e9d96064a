//! A strict check of JUnit text against the schema that is used most: JUnit.xsd of Apache Ant's
//! JUnit tasks by Windy Road Technology (Apache License 2.0, github.com/windyroad/JUnit-Schema),
//! written as the tables below. They are a little stricter: `skipped` has the attributes that
//! Jenkins' xUnit plugin knows (its junit-10.xsd, MIT License). Text that passes is valid by both
//! schemas.
//!
//! It also checks what no schema can express: the counts match the cases, and no two cases share a
//! name.

use std::collections::{BTreeMap, BTreeSet};

use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};

/// An XML element.
#[derive(Debug, Default)]
pub(super) struct Element {
    pub(super) name: String,
    pub(super) attributes: BTreeMap<String, String>,
    pub(super) children: Vec<Element>,
    pub(super) text: String,
}

/// What an element may contain.
struct ElementRule {
    element: &'static str,
    /// Name, kind of value, whether it is required.
    attributes: &'static [(&'static str, Value, bool)],
    /// Children in this order.
    children: &'static [(&'static str, Times)],
    text: bool,
}

/// Kinds of values, named after their XML Schema types.
#[derive(Debug, Clone, Copy)]
enum Value {
    /// `xs:string`.
    Any,
    /// `xs:token` of at least one character.
    Token,
    /// `xs:int`.
    Int,
    /// `xs:decimal`.
    Decimal,
    /// `xs:dateTime` without fraction and zone.
    DateTime,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Times {
    Once,
    Any,
    /// At most one among all children marked with this.
    OneOfThese,
}

use Times::{Any as Many, Once, OneOfThese};
use Value::{Any, DateTime, Decimal, Int, Token};

const BAD: &[(&str, Value, bool)] = &[("message", Any, false), ("type", Any, true)];
const RULES: &[ElementRule] = &[
    ElementRule {
        element: "testsuites",
        attributes: &[],
        children: &[("testsuite", Many)],
        text: false,
    },
    ElementRule {
        element: "testsuite",
        attributes: &[
            ("package", Token, true),
            ("id", Int, true),
            ("name", Token, true),
            ("timestamp", DateTime, true),
            ("hostname", Token, true),
            ("tests", Int, true),
            ("failures", Int, true),
            ("errors", Int, true),
            ("skipped", Int, false),
            ("time", Decimal, true),
        ],
        children: &[
            ("properties", Once),
            ("testcase", Many),
            ("system-out", Once),
            ("system-err", Once),
        ],
        text: false,
    },
    ElementRule {
        element: "properties",
        attributes: &[],
        children: &[("property", Many)],
        text: false,
    },
    ElementRule {
        element: "property",
        attributes: &[("name", Token, true), ("value", Any, true)],
        children: &[],
        text: false,
    },
    ElementRule {
        element: "testcase",
        attributes: &[("name", Token, true), ("classname", Token, true), ("time", Decimal, true)],
        children: &[("skipped", OneOfThese), ("error", OneOfThese), ("failure", OneOfThese)],
        text: false,
    },
    ElementRule {
        element: "skipped",
        attributes: &[("message", Any, false), ("type", Any, false)],
        children: &[],
        text: true,
    },
    ElementRule { element: "error", attributes: BAD, children: &[], text: true },
    ElementRule { element: "failure", attributes: BAD, children: &[], text: true },
    ElementRule { element: "system-out", attributes: &[], children: &[], text: true },
    ElementRule { element: "system-err", attributes: &[], children: &[], text: true },
];

impl Value {
    fn fits(self, text: &str) -> bool {
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        match self {
            Any => true,
            Token => {
                !text.is_empty()
                    && text
                        .split(' ')
                        .all(|word| !word.is_empty() && !word.contains(['\n', '\t', '\r']))
            }
            Int => text.parse::<i32>().is_ok(),
            Decimal => {
                let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
                digits(whole) && digits(part)
            }
            DateTime => {
                let shape: String =
                    text.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
                shape == "0000-00-00T00:00:00"
            }
        }
    }
}

/// Checks `text` and returns its root.
pub(super) fn check(text: &str) -> Result<Element, String> {
    let root = parse(text)?;
    if root.name != "testsuites" {
        return Err(format!("the root is {}", root.name));
    }
    follows_rules(&root)?;
    let mut names = BTreeSet::new();
    for (index, suite) in root.children.iter().enumerate() {
        let cases: Vec<&Element> =
            suite.children.iter().filter(|one| one.name == "testcase").collect();
        let with = |child: &str| {
            cases.iter().filter(|case| case.children.iter().any(|one| one.name == child)).count()
        };
        let counts = [
            ("id", index),
            ("tests", cases.len()),
            ("failures", with("failure")),
            ("errors", with("error")),
            ("skipped", with("skipped")),
        ];
        for (name, count) in counts {
            let told = &suite.attributes[name];
            if *told != count.to_string() {
                return Err(format!("{name} is {told}, and there are {count}"));
            }
        }
        for case in cases {
            let name = (case.attributes["classname"].clone(), case.attributes["name"].clone());
            if !names.insert(name.clone()) {
                return Err(format!("{name:?} is there twice"));
            }
        }
    }
    Ok(root)
}

fn follows_rules(element: &Element) -> Result<(), String> {
    let name = &element.name;
    let Some(rule) = RULES.iter().find(|rule| rule.element == name) else {
        return Err(format!("there is no element {name}"));
    };
    for (attribute, value) in &element.attributes {
        match rule.attributes.iter().find(|(known, ..)| known == attribute) {
            Some((_, kind, _)) if kind.fits(value) => {}
            Some((_, kind, _)) => {
                return Err(format!("{name}: {attribute}={value:?} is no {kind:?}"));
            }
            None => return Err(format!("{name} has no attribute {attribute}")),
        }
    }
    for (attribute, _, must) in rule.attributes {
        if *must && !element.attributes.contains_key(*attribute) {
            return Err(format!("{name} lacks {attribute}"));
        }
    }
    if !rule.text && !element.text.trim().is_empty() {
        return Err(format!("{name} has text: {}", element.text));
    }
    let mut left = element.children.iter().map(|child| child.name.as_str()).peekable();
    if rule.children.iter().all(|(_, times)| *times == OneOfThese) {
        let first = left.next();
        if first.is_some_and(|child| !rule.children.iter().any(|(known, _)| *known == child)) {
            return Err(format!("{name} has no {first:?}"));
        }
    } else {
        for (child, times) in rule.children {
            let mut count = 0;
            while left.next_if(|next| next == child).is_some() {
                count += 1;
            }
            if *times == Once && count != 1 {
                return Err(format!("{name} has {count} {child}, expected one"));
            }
        }
    }
    if let Some(more) = left.next() {
        return Err(format!("{name}: {more} is one too many, or in a wrong place"));
    }
    element.children.iter().try_for_each(follows_rules)
}

fn parse(text: &str) -> Result<Element, String> {
    let mut reader = Reader::from_str(text);
    let mut open = vec![Element::default()];
    let wrong = |error: &dyn std::fmt::Display| format!("no XML: {error}");
    loop {
        let event = reader.read_event().map_err(|error| wrong(&error))?;
        let ended = match &event {
            Event::Start(start) => {
                open.push(element(start)?);
                false
            }
            Event::Empty(start) => {
                open.push(element(start)?);
                true
            }
            Event::End(_) => true,
            Event::Text(part) => {
                let part = part.decode().map_err(|error| wrong(&error))?;
                if part.chars().any(|c| c.is_control() && !matches!(c, '\n' | '\t')) {
                    return Err("a control character".to_owned());
                }
                open.last_mut().ok_or("text outside")?.text += &part;
                false
            }
            Event::GeneralRef(reference) => {
                let entity = format!("&{};", reference.decode().map_err(|error| wrong(&error))?);
                let part = quick_xml::escape::unescape(&entity).map_err(|error| wrong(&error))?;
                open.last_mut().ok_or("text outside")?.text += &part;
                false
            }
            Event::Decl(_) => false,
            Event::Eof => break,
            other => return Err(format!("{other:?} is not looked for")),
        };
        if ended {
            let done = open.pop().ok_or("an end without a beginning")?;
            open.last_mut().ok_or("an end without a beginning")?.children.push(done);
        }
    }
    match open.pop().map(|mut document| (document.children.pop(), document.children.is_empty())) {
        Some((Some(root), true)) if open.is_empty() => Ok(root),
        _ => Err("not one root, opened and closed".to_owned()),
    }
}

fn element(start: &BytesStart<'_>) -> Result<Element, String> {
    let name = String::from_utf8_lossy(start.name().as_ref()).into_owned();
    let mut attributes = BTreeMap::new();
    for attribute in start.attributes() {
        let attribute = attribute.map_err(|error| error.to_string())?;
        let key = String::from_utf8_lossy(attribute.key.as_ref()).into_owned();
        let value = quick_xml::escape::unescape(
            std::str::from_utf8(&attribute.value).map_err(|error| error.to_string())?,
        )
        .map_err(|error| error.to_string())?
        .into_owned();
        attributes.insert(key, value);
    }
    Ok(Element { name, attributes, ..Element::default() })
}
