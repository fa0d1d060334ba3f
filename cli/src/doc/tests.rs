//! Pages of examples.

use std::collections::{BTreeMap, BTreeSet};

use robo_model::graph::Application;

use super::*;

const SHOP: &str = include_str!("../../../examples/shop/app.graph");

/// Hostile words wherever words may stand.
const HOSTILE: &str = r#"application x {
	version: 1.0.0;
	description: </title><script>alert(1)</script> **bold** | "quoted";
	tags: <b>tag</b>, two;
}
# <script>alert('note')</script> & [a link](javascript:x)
# second line
VM {
	installer: target;
	children: Db;
	exports: ip;
}
Db {
	installer: process;
	run: ./db --flag "<img src=x onerror=alert(1)>" `id`;
	env.PASSWORD: $(secret:db-password);
	exports: port = 5432, banner = "</style></svg><script>alert(2)</script>|`x`";
	imports: external Bank.url (optional);
}
instance of VM {
	name: vm;
	instance of Db {
		name: db;
		port: <u>7</u>;
	}
}
"#;

fn application(text: &str) -> Application {
    let mut files = BTreeMap::from([("app.graph".to_owned(), text.as_bytes().to_vec())]);
    let compiled = robo_dsl::compile_file("app.graph", &mut files);
    compiled.application.unwrap_or_else(|| panic!("{:#?}", compiled.diagnostics))
}

#[test]
fn in_markdown() {
    insta::assert_snapshot!(markdown(&application(SHOP)));
}

#[test]
fn hostile_words_stay_words() {
    let application = application(HOSTILE);
    let page = html(&application);
    insta::assert_snapshot!("hostile_html", page);
    for bad in ["<script", "<img", "<b>tag", "<u>7", "href=\"javascript"] {
        assert!(!page.contains(bad), "{bad}");
    }
    assert!(page.contains("$(secret:db-password)"), "secrets stay references");
    let page = markdown(&application);
    insta::assert_snapshot!("hostile_markdown", page);
    for line in page.lines().filter(|line| line.contains("<script") || line.contains("<img")) {
        assert!(line.contains('`') || line.contains("\\<script"), "outside of code: {line}");
    }
}

#[test]
fn a_page_has_everything_in_it_and_every_link_a_goal() {
    let page = html(&application(SHOP));
    for part in [
        "<title>shop</title>",
        "A shop behind a load balancer",
        "id=\"component-Web\"",
        "id=\"facet-backend\"",
        "<svg ",
        "taken when it is there",
        "http $(port) /healthz every 2s timeout 5s",
        "The front door",
        "prefers-color-scheme:dark",
    ] {
        assert!(page.contains(part), "{part}");
    }
    assert!(!page.contains("src=") && !page.contains("@import") && !page.contains("<script"), "nothing from elsewhere");
    let quoted = |before: &str| -> Vec<String> {
        let rests = page.split(before).skip(1).filter_map(|rest| rest.split_once('"'));
        rests.map(|(word, _)| word.to_owned()).collect()
    };
    let ids = quoted(" id=\"");
    assert_eq!(ids.len(), ids.iter().collect::<BTreeSet<_>>().len(), "{ids:?}");
    for link in quoted("href=\"#") {
        assert!(ids.contains(&link), "{link} leads nowhere");
    }
}
