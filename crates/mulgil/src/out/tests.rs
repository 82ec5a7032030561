//! Every form of one view.

use serde_json::json;

use super::*;

fn view() -> View {
    let mut table = Table::new(&[
        Column::new("name"),
        Column::new("bytes"),
        Column::wide("id"),
    ]);
    for (name, bytes) in [("a,b", 2048_u64), ("c\u{1b}[31m", 10)] {
        let bytes = Cell::new(bytes, human::bytes(bytes));
        table
            .rows
            .push(vec![Cell::text(name), bytes, Cell::text("1")]);
    }
    View {
        json: json!([{"name": "a,b", "bytes": 2048}, {"name": "no", "list": [1, {"x": []}]}]),
        facts: vec![("topics".to_owned(), "2".to_owned())],
        table,
        names: vec!["a,b".to_owned(), "c".to_owned()],
    }
}

fn shown(format: Format, columns: &[&str], sort: Option<&str>) -> String {
    let columns = columns.iter().map(|&name| name.to_owned()).collect();
    let sort = sort.map(str::to_owned);
    render(
        &view(),
        &Style {
            format,
            columns,
            sort,
            no_headers: false,
        },
    )
    .unwrap()
}

#[test]
fn each_form_shows_the_same() {
    let table = "topics:  2\n\nNAME           BYTES\na,b          2.0 KiB\nc\\u{1b}[31m     10 B\n";
    assert_eq!(shown(Format::Table, &[], None), table);
    assert!(shown(Format::Wide, &[], None).contains("ID"));
    assert_eq!(
        shown(Format::Csv, &[], None),
        "name,bytes,id\n\"a,b\",2048,1\nc\u{1b}[31m,10,1\n"
    );
    assert_eq!(shown(Format::Name, &[], None), "a,b\nc\n");
    let jsonl = "{\"bytes\":2048,\"name\":\"a,b\"}\n{\"list\":[1,{\"x\":[]}],\"name\":\"no\"}\n";
    assert_eq!(shown(Format::Jsonl, &[], None), jsonl);
    let yaml = "- bytes: 2048\n  name: \"a,b\"\n- list:\n    - 1\n    - x: []\n  name: \"no\"\n";
    assert_eq!(shown(Format::Yaml, &[], None), yaml);
}

#[test]
fn columns_are_chosen_and_rows_sorted_by_raw_values() {
    let csv = shown(Format::Csv, &["bytes"], Some("bytes"));
    assert_eq!(csv, "bytes\n10\n2048\n");
    assert_eq!(
        shown(Format::Csv, &["bytes"], Some("-bytes")),
        "bytes\n2048\n10\n"
    );
    let style = Style {
        columns: vec!["nme".to_owned()],
        ..Style::default()
    };
    assert_eq!(render(&view(), &style).unwrap_err().code, Code::Usage);
}
