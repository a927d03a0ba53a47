use super::*;

/// Reads the text of field `t` and reports a problem at `line` and `column` of it.
fn place(yaml: &str, line: usize, column: usize) -> String {
    let document = Document::parse("f", yaml).unwrap();
    let mut reader = document.reader();
    let mut fields = reader.fields(document.root(), "a test").unwrap();
    let node = fields.take("t").unwrap();
    reader.text(node).unwrap();
    reader.problem_within(node, line, column, "x");
    reader.finish().unwrap_err().to_string()
}

#[test]
fn places_within_texts_are_places_in_the_file() {
    let check = |yaml: &str, line: usize, column: usize, expected: &str| {
        assert_eq!(place(yaml, line, column), format!("f:{expected}"), "{yaml}");
    };
    check("t: abc", 1, 3, "1:6: x");
    check("t: 'abc'", 1, 3, "1:7: x");
    check("{\"ä\": 1, \"t\": \"abc\"}", 1, 3, "1:18: x");
    check("a: 1\nt: |\n  one\n    two\n", 1, 2, "3:4: x");
    check("a: 1\nt: |\n  one\n    two\n", 2, 3, "4:5: x");
    check("t: |-\n\n\n   one\n\n   two\n", 3, 1, "4:4: x");
    check("t: |-\n\n\n   one\n\n   two\n", 5, 2, "6:5: x");
    check("t: |2\n   one\n", 1, 1, "2:3: x");
    check(
        "t: >\n  one\n  two\n",
        1,
        6,
        "2:3: x (line 1, column 6 of this text)",
    );
    check("t: 'it''s'", 1, 4, "1:4: x (line 1, column 4 of this text)");
    check("t: \"a\\nb\"", 2, 1, "1:4: x (line 2, column 1 of this text)");
}

#[test]
fn what_is_no_yaml_has_a_place_and_a_remedy() {
    let check = |yaml: &str, expected: &str| {
        let problem = Document::parse("f", yaml).unwrap_err().to_string();
        assert!(problem.starts_with(expected), "{problem}");
    };
    check("", "f:1:1: the file is empty");
    check("a: [1\nb: 2\n", "f:2:2: not valid YAML: ");
    check("a: 1\n---\nb: 2\n", "f:2:1: a second document in one file");
    check("a: *b", "f:1:4: not valid YAML: ");
    check("a: &a [*a]", "f:1:8: an alias inside the node that it names");
    check(&"[".repeat(100_000), "f:1:65: not valid YAML: ");
    check(&"- ".repeat(100_000), "f:1:1");
    let message = |yaml| Document::parse("f", yaml).unwrap_err().message;
    assert!(message("t: {{.ns}}_x").ends_with("a value that begins with {{ must be quoted: '{{…}}'"));
}

#[test]
fn aliases_cannot_fill_the_memory() {
    let mut yaml = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for i in 1..12 {
        let before = vec![format!("*a{}", i - 1); 10].join(", ");
        yaml += &format!("a{i}: &a{i} [{before}]\n");
    }
    let problem = Document::parse("f", &yaml).unwrap_err();
    assert!(problem.message.contains("unfolds to more than"), "{problem}");
}

#[test]
fn scalars_are_what_they_look_like() {
    let check = |yaml: &str, expected: &str| {
        let document = Document::parse("f", yaml).unwrap();
        let mut reader = document.reader();
        reader.text(document.root());
        let found = reader
            .finish()
            .map_or_else(|problems| problems.to_string(), |()| "text".into());
        assert_eq!(found, expected, "{yaml}");
    };
    for text in [
        "abc", "'5'", "\"true\"", "!!str 5", "no", "30s", "1.2.3", "|\n  5\n", "0xzz", "nan",
    ] {
        check(text, "text");
    }
    for number in ["5", "-0.5", "1e3", "0x1F", ".inf", "+3"] {
        let quoted = format!("quote it to make it one: \"{number}\"");
        check(
            number,
            &format!("f:1:1: expected a text, found the number {number}; {quoted}"),
        );
    }
    check(
        "true",
        "f:1:1: expected a text, found the truth value true; quote it to make it one: \"true\"",
    );
    check("~", "f:1:1: expected a text, found nothing");
    check("[a]", "f:1:1: expected a text, found a list");
    check("a: b", "f:1:1: expected a text, found a mapping");
    let braces = "{{ begins a mapping in YAML, so quote the value: '{{…}}'";
    check(
        "{{.x}}",
        &format!("f:1:1: expected a text, found a mapping; {braces}"),
    );
}

#[test]
fn all_problems_are_found_in_one_reading() {
    let yaml = "a: 1\na: 2\nb: maybe\nc: 0\nd: x\ndd: y\n5: z\n";
    let document = Document::parse("f", yaml).unwrap();
    let mut reader = document.reader();
    let mut fields = reader.fields(document.root(), "a test").unwrap();
    fields.take("a");
    let b = fields.take("b").unwrap();
    reader.bool(b);
    let c = fields.take("c").unwrap();
    reader.count(c);
    fields.take("d");
    fields.require("missing", &mut reader);
    fields.finish(&mut reader);
    let expected = [
        "f:1:1: field \"missing\" is missing in a test",
        "f:2:1: field \"a\" is here twice; first on line 1",
        "f:3:4: expected true or false, found the text \"maybe\"",
        "f:4:4: expected a whole number of at least 1, found the number 0",
        "f:6:1: unknown field \"dd\" in a test; did you mean \"d\"?",
        "f:7:1: expected a text, found the number 5; quote it to make it one: \"5\"",
    ];
    assert_eq!(reader.finish().unwrap_err().to_string(), expected.join("\n"));
}

#[test]
fn what_may_be_secret_is_not_shown() {
    for yaml in ["12345678", "true", "[hunter2]", "{hunter2: 1}", "0x31323334", "~"] {
        let document = Document::parse("f", yaml).unwrap();
        let mut reader = document.reader();
        assert_eq!(reader.secret(document.root()), None);
        let problem = reader.finish().unwrap_err().to_string();
        assert!(problem.starts_with("f:1:1: expected a text, found "), "{problem}");
        assert!(
            !["1234", "true", "hunter2", "3132"]
                .iter()
                .any(|secret| problem.contains(secret)),
            "{problem}"
        );
    }
    // Where a list or a mapping is due, anything may stand, as in a file that is none of ours.
    let document = Document::parse("f", "root:x:0:0:hunter2").unwrap();
    let mut reader = document.reader();
    reader.fields(document.root(), "a pack");
    reader.list(document.root(), "a list");
    let problems = reader.finish().unwrap_err().to_string();
    let expected =
        "f:1:1: expected a pack: a mapping of fields, found a text\nf:1:1: expected a list, found a text";
    assert_eq!(problems, expected);
}

#[test]
fn whatever_is_echoed_is_short() {
    let long = "1".repeat(1 << 20);
    for yaml in [
        format!("name: {long}"),
        format!("name: \"{long}\""),
        format!("? n{long}\n: 1"),
        format!("name: a{long}"),
    ] {
        let document = Document::parse("f", &yaml).unwrap();
        let mut reader = document.reader();
        if let Some(mut fields) = reader.fields(document.root(), "a test") {
            let name = fields.take("name");
            name.map(|name| {
                (
                    reader.duration(name),
                    reader.text(name),
                    reader.bool(name),
                    reader.count(name),
                )
            });
            fields.finish(&mut reader);
        }
        let problems = reader.finish().unwrap_err();
        assert!(
            problems.iter().all(|problem| problem.message.len() < 300),
            "{}",
            problems.iter().len()
        );
    }
}

#[test]
fn many_problems_take_bounded_time_and_room() {
    let yaml = (0..100_000).map(|i| format!("f{i}: 1\n")).collect::<String>();
    let document = Document::parse("f", &yaml).unwrap();
    let mut reader = document.reader();
    if let Some(fields) = reader.fields(document.root(), "a test") {
        fields.finish(&mut reader);
    }
    assert_eq!(reader.problem_count(), 100_000);
    let problems = reader.finish().unwrap_err();
    assert_eq!(problems.iter().len(), 1001);
    let last = problems.iter().last().unwrap();
    assert_eq!(last.message, "99000 more problems are not told");
}
