//! Imports from other applications.

use robo_model::state::Wanted;
use robo_wire::plan::Action;
use robo_wire::problem::ErrorCode;

use super::{Store, app, bound, offering, told};
use crate::plan::{Desired, Overrides};

/// Offers what it stores to others; `/w/audit` imports it inside.
fn stock(port: &str) -> Desired {
    let lines =
        ["/w Host target", &format!("/w/db Db script | Db.port={port}, Db.key=1"), "/w/audit Audit script || Db.port"];
    offering(app(&lines), "stock", "Wh", &["Db.port=port"])
}

/// Imports from `stock`, and hands a port on to others itself.
fn shop() -> Desired {
    let lines = [
        "/s Vm target",
        "/s/web Web process:web_$(Wh.port) | Web.port=80 | Wh.port!",
        "/s/cart Cart script | Cart.v=1 | Wh.*!, Web.port?",
        "/s/ad Ad script || Wh.port?!, Db.port?",
    ];
    offering(app(&lines), "shop", "Sh", &["Web.port=web"])
}

fn report() -> Desired {
    offering(app(&["/r Vm target", "/r/sum Sum script | Sum.v=1 | Sh.*!"]), "report", "Re", &[])
}

/// `stock` on device w, `shop` on s bound to it, `report` on r bound to `shop`; `stock` is the one to be planned.
fn three() -> Store {
    let mut store = Store::new(&["w", "s", "r"]);
    store.apply(&stock("5432"));
    store.turn_to("shop");
    store.apply(&shop());
    store.bound_to = bound(&["Wh=stock"]);
    store.turn_to("report");
    store.apply(&report());
    store.bound_to = bound(&["Sh=shop"]);
    store.turn_to("stock");
    store
}

#[test]
fn specifications_say_what_is_offered_and_where_imports_come_from() {
    let mut store = three();
    let planned = store.plan(&stock("5432")).unwrap();
    let outside = |path: &str| {
        let spec = planned.specs["id-w"].iter().find(|spec| spec.key.path.as_str() == path).unwrap();
        spec.outside.iter().map(|(name, inner)| format!("{name} is {inner}")).collect::<Vec<_>>()
    };
    assert_eq!(outside("/w/db"), ["Wh.port is Db.port"]);
    assert!(outside("/w/audit").is_empty());
    store.turn_to("shop");
    let planned = store.plan(&shop()).unwrap();
    let bound: Vec<usize> = planned.specs["id-s"].iter().map(|spec| spec.bindings.len()).collect();
    assert_eq!(bound, [0, 1, 1, 1]);
    assert_eq!(planned.plan.ground.bindings, store.bound_to);
    let others: Vec<String> = planned.plan.ground.others.iter().map(|(name, n)| format!("{name} {n}")).collect();
    assert_eq!(others, ["report 1", "stock 1"]);
    assert!(planned.plan.is_empty() && planned.plan.steps.is_empty());
}

#[test]
fn a_change_is_told_to_those_who_are_bound() {
    let store = three();
    assert_eq!(
        told(&store.plan(&stock("5433")).unwrap().plan),
        [
            "restart /w/db@w: port 5432 → 5433",
            "Restart /w/audit@w: Db.port of /w/db Changes 5432 → 5433",
            "Restart report/r/sum@r: Sh.web of shop/s/web Changes 80 → 80",
            "Update shop/s/ad@s: Wh.port of /w/db Changes 5432 → 5433",
            "Restart shop/s/cart@s: Wh.port of /w/db Changes 5432 → 5433",
            "Restart shop/s/cart@s: Web.port of shop/s/web Changes 80 → 80",
            "Restart shop/s/web@s: Wh.port of /w/db Changes 5432 → 5433",
        ]
    );
    let mut without = stock("5432");
    without.application.instances.remove(&"/w/db".parse().unwrap());
    let plan = store.plan(&without).unwrap().plan;
    assert_eq!(
        told(&plan)[..7],
        [
            "delete /w/db@w",
            "Wait /w/audit@w: Db.port of /w/db Vanishes 5432 → ?",
            "Wait report/r/sum@r: Sh.web of shop/s/web Vanishes 80 → ?",
            "Update shop/s/ad@s: Wh.port of /w/db Vanishes 5432 → ?",
            "Wait shop/s/cart@s: Wh.port of /w/db Vanishes 5432 → ?",
            "Wait shop/s/cart@s: Web.port of shop/s/web Vanishes 80 → ?",
            "Wait shop/s/web@s: Wh.port of /w/db Vanishes 5432 → ?",
        ]
    );
    assert_eq!(plan.summary().ripple, 5);
}

#[test]
fn what_is_offered_to_others_may_change_alone() {
    let store = three();
    let mut more = stock("5432");
    more.application.exports.insert("Db.key".parse().unwrap(), "key".parse().unwrap());
    assert_eq!(
        told(&store.plan(&more).unwrap().plan),
        ["republish /w/db@w: + to others: Wh.key Db.key", "Update shop/s/cart@s: Wh.key of /w/db Appears ? → 1",]
    );
    let mut less = stock("5432");
    less.application.exports.clear();
    let plan = store.plan(&less).unwrap().plan;
    assert!(
        told(&plan).iter().any(|line| line.starts_with("Wait shop/s/web@s: Wh.port of /w/db Vanishes")),
        "{plan:?}"
    );
    assert!(plan.changes.iter().all(|change| matches!(change.action, Action::Change(_))));
}

#[test]
fn a_prefix_that_others_are_bound_to_stays() {
    let store = three();
    for prefix in [None, Some("Other".parse().unwrap())] {
        let mut other = stock("5432");
        other.application.exports_prefix = prefix;
        let error = store.plan(&other).unwrap_err();
        assert_eq!((error.code(), error.problems.len()), (ErrorCode::InUse, 1), "{error}");
        assert!(error.to_string().starts_with("`shop` import `Wh` from `stock`, which is to offer "), "{error}");
        assert!(error.help().contains("robo bind shop Wh NAME"), "{}", error.help());
    }
}

#[test]
fn who_is_bound_to_nobody_is_told_how() {
    let mut store = three();
    store.turn_to("shop");
    store.bound_to.clear();
    let lines = told(&store.plan(&shop()).unwrap().plan);
    let how = "`robo bind shop Wh stock` takes it from there; it is offered by `stock`";
    let none = "comes from another application, and none is bound";
    assert!(lines.contains(&format!("warning `Wh.*` {none}: `/s/cart` does not start; {how}")), "{lines:?}");
    assert!(lines.contains(&format!("warning `Wh.port` {none}: `/s/web` does not start; {how}")), "{lines:?}");
    assert!(lines.contains(&format!("warning `Wh.port` {none}: `/s/ad` goes without; {how}")), "{lines:?}");
    // Bound to one that offers the prefix and not the variable.
    store.bound_to = bound(&["Wh=stock"]);
    let wants = |import: &str| {
        let lines = ["/s Vm target", &format!("/s/x X script || {import}")];
        offering(app(&lines), "shop", "Sh", &[])
    };
    let warnings = store.plan(&wants("Wh.other!")).unwrap().plan.warnings;
    assert!(warnings.contains(&"nothing in `stock` offers `Wh.other` to others: `/s/x` does not start".to_owned()));
    assert!(store.plan(&wants("Wh.port!")).unwrap().plan.warnings.iter().all(|line| !line.contains("Wh")));
}

#[test]
fn who_could_be_bound_is_told_and_moves_no_plan() {
    let mut store = three();
    store.turn_to("shop");
    store.bound_to.clear();
    let before = store.plan(&shop()).unwrap().plan;
    let mut other = store.others[1].clone();
    assert_eq!(other.desired.application.name.as_str(), "stock");
    other.desired.application.name = "stock-2".parse().unwrap();
    // It counts as an application that offers the prefix, and not as one that was read.
    let mut world = store.clone();
    world.only_offering.push(other.desired.application.clone());
    let after = world.plan(&shop()).unwrap().plan;
    assert_ne!(after.warnings, before.warnings);
    assert_eq!(after.id, before.id);
}

#[test]
fn the_ground_holds_what_was_asked_of_others() {
    let mut store = three();
    let before = store.plan(&stock("5432")).unwrap().plan;
    let names =
        |plan: &robo_wire::plan::Plan| plan.ground.other_bindings.keys().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(
        (names(&before), before.ground.other_overrides.len()),
        (vec!["report".to_owned(), "shop".to_owned()], 0)
    );
    let shop = store.others.iter_mut().find(|other| other.desired.application.name.as_str() == "shop").unwrap();
    shop.overrides.count = 1;
    let after = store.plan(&stock("5432")).unwrap().plan;
    assert_eq!(after.ground.other_overrides.values().collect::<Vec<_>>(), [&1]);
    assert_ne!(after.id, before.id);
}

#[test]
fn what_stands_still_elsewhere_counts() {
    // `shop` is stopped: nothing there notices, nor does `report`, which waits already.
    let mut store = three();
    let shop = store.others.iter_mut().find(|other| other.desired.application.name.as_str() == "shop").unwrap();
    shop.overrides = Overrides { count: 1, wanted: [("/s".parse().unwrap(), Wanted::Stopped)].into() };
    assert_eq!(
        told(&store.plan(&stock("5433")).unwrap().plan),
        ["restart /w/db@w: port 5432 → 5433", "Restart /w/audit@w: Db.port of /w/db Changes 5432 → 5433"]
    );
    // Applied again, `shop` starts, and so does who waited for it.
    store.turn_to("shop");
    let shop = store.current.clone().unwrap().0;
    let lines = told(&store.plan(&shop).unwrap().plan);
    assert!(lines.contains(&"start /s/web@s: was stopped by hand".to_owned()), "{lines:?}");
    assert!(lines.contains(&"Start report/r/sum@r: Sh.web of /s/web Appears ? → 80".to_owned()), "{lines:?}");
    store.keep_overrides = true;
    let kept = store.plan(&shop).unwrap();
    assert!(kept.plan.is_empty() && kept.plan.overrides.iter().all(|one| one.kept), "{:?}", kept.plan);
    assert_eq!(kept.overrides, store.overrides.wanted);
}
