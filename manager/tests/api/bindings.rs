//! Bindings between applications, from the request to the devices' assignments.

use robo_model::spec::Generation;

use super::*;

const STOCK: &str = "\
application stock {
	exports-prefix: Wh;
	exports: Db.port as port;
}
VM {
	installer: target;
	children: Db;
}
Db {
	installer: script;
	exports: port = 5432;
}
instance of VM {
	name: vm;
	device: one;
	instance of Db {
		name: db;
	}
}
";

const SHOP: &str = "\
application shop {
	exports-prefix: Sh;
	exports: Web.port as web;
}
VM {
	installer: target;
	children: Web;
}
Web {
	installer: script;
	exports: port = 80;
	imports: external Wh.port;
}
instance of VM {
	name: vm;
	device: two;
	instance of Web {
		name: web;
	}
}
";

impl Manager {
    async fn deploy_app(&self, graph: &str) -> Result<Value, Problem> {
        let source = self.upload(graph).await;
        let bundle = json!({
            "entry": {"kind": "file", "path": "app.graph"},
            "sources": {"app.graph": {"hash": source, "size": graph.len()}},
        });
        let plan = self.plan(&bundle).await?;
        self.apply(&bundle, &plan).await
    }

    async fn bind(&self, path: &str, to: &[&str]) -> Result<Value, Problem> {
        self.call(Method::PUT, &format!("applications/{path}"), json!({"applications": to})).await
    }

    /// The generation of a device's assignment, and what each of its instances with external imports is bound to.
    async fn bound(&self, device: &DeviceId) -> (Generation, Vec<String>) {
        let assignment = self.service.store().assignment(device).await.unwrap().unwrap();
        let bound = assignment.instances.iter().flat_map(|spec| &spec.bindings);
        let text = |(prefix, to): (&_, &std::collections::BTreeSet<_>)| {
            let to: Vec<String> = to.iter().map(ToString::to_string).collect();
            format!("{prefix}={}", to.join(","))
        };
        (assignment.generation, bound.map(text).collect())
    }
}

#[tokio::test]
async fn bindings_are_checked_kept_and_take_effect_at_once() {
    let manager = Manager::start().await;
    let (one, two) = (manager.enrol("one").await, manager.enrol("two").await);
    manager.deploy_app(STOCK).await.unwrap();
    let applied = manager.deploy_app(SHOP).await.unwrap();
    let warning = applied["plan"]["warnings"][0].as_str().unwrap();
    assert!(warning.contains("none is bound: `/vm/web` does not start; `robo bind shop Wh stock`"), "{warning}");
    let nobody = json!([{"prefix": "Wh", "applications": [], "candidates": ["stock"]}]);
    assert_eq!(manager.get("applications/shop/bindings").await.unwrap(), nobody);

    refused(manager.bind("shopp/bindings/Wh", &["stock"]).await, ErrorCode::NotFound, "did you mean `shop`?");
    refused(manager.bind("shop/bindings/Wh", &["stokc"]).await, ErrorCode::NotFound, "did you mean `stock`?");
    refused(manager.bind("shop/bindings/Wh", &["stock", "shop"]).await, ErrorCode::BadRequest, "to itself");
    refused(manager.bind("shop/bindings/Xy", &["stock"]).await, ErrorCode::NotFound, "it imports `Wh`");
    refused(manager.bind("stock/bindings/Wh", &["shop"]).await, ErrorCode::NotFound, "has no import with `external`");
    let other = STOCK.replace("application stock", "application depot").replace("Wh;", "Dp;");
    manager.deploy_app(&other).await.unwrap();
    let wrong = manager.bind("shop/bindings/Wh", &["stock", "depot"]).await;
    refused(wrong, ErrorCode::BadRequest, "`depot` offers `Dp` to others, not `Wh` (`stock` offer `Wh`)");
    assert_eq!(manager.bound(&two).await, (Generation(1), vec![]), "all or nothing");

    let bound = manager.bind("shop/bindings/Wh", &["stock"]).await.unwrap();
    assert_eq!(bound["instances"], json!(["/vm/web"]));
    assert_eq!(manager.bound(&two).await, (Generation(2), vec!["Wh=stock".to_owned()]));
    manager.bind("shop/bindings/Wh", &["stock", "stock"]).await.unwrap();
    assert_eq!(manager.bound(&two).await.0, Generation(2), "nothing new, nothing told");
    let more = STOCK.replace("application stock", "application stock-2");
    manager.deploy_app(&more).await.unwrap();
    manager.bind("shop/bindings/Wh", &["stock-2", "stock"]).await.unwrap();
    assert_eq!(manager.bound(&two).await, (Generation(3), vec!["Wh=stock,stock-2".to_owned()]));
    // An apply keeps them.
    manager.deploy_app(&SHOP.replace("port = 80", "port = 81")).await.unwrap();
    assert_eq!(manager.bound(&two).await, (Generation(4), vec!["Wh=stock,stock-2".to_owned()]));
    let views = manager.get("applications/shop/bindings").await.unwrap();
    assert_eq!(views[0]["applications"], json!(["stock", "stock-2"]));
    let told: Vec<EventBody> = manager.events().await.into_iter().map(|event| event.body).collect();
    let bound = |to: &[&str]| EventBody::Bound {
        prefix: "Wh".parse().unwrap(),
        applications: to.iter().map(|name| name.parse().unwrap()).collect(),
    };
    let bindings: Vec<&EventBody> = told.iter().filter(|body| matches!(body, EventBody::Bound { .. })).collect();
    assert_eq!(bindings, [&bound(&["stock"]), &bound(&["stock", "stock-2"])]);

    // What others are bound to stays, unless it is forced.
    refused(
        manager.deploy_app(&STOCK.replace("Wh;", "Other;")).await,
        ErrorCode::InUse,
        "`shop` import `Wh` from `stock`",
    );
    let delete = async |path: &str| manager.call(Method::DELETE, &format!("applications/{path}"), Value::Null).await;
    refused(delete("stock").await, ErrorCode::InUse, "others import from application `stock`: `shop`");
    delete("stock?force=true").await.unwrap();
    assert_eq!(manager.bound(&two).await, (Generation(5), vec!["Wh=stock-2".to_owned()]));
    assert!(manager.bound(&one).await.0 > Generation(1));
    manager.bind("shop/bindings/Wh", &[]).await.unwrap();
    assert_eq!(manager.bound(&two).await, (Generation(6), vec![]));
    delete("stock-2").await.unwrap();
    delete("shop").await.unwrap();
}

#[tokio::test]
async fn a_plan_is_void_when_what_it_is_bound_to_moved() {
    let manager = Manager::start().await;
    manager.enrol("one").await;
    manager.enrol("two").await;
    manager.deploy_app(STOCK).await.unwrap();
    manager.deploy_app(SHOP).await.unwrap();
    let source = SHOP.replace("port = 80", "port = 81");
    let hash = manager.upload(&source).await;
    let bundle = json!({
        "entry": {"kind": "file", "path": "app.graph"},
        "sources": {"app.graph": {"hash": hash, "size": source.len()}},
    });
    let plan = manager.plan(&bundle).await.unwrap();
    manager.bind("shop/bindings/Wh", &["stock"]).await.unwrap();
    let moved = manager.apply(&bundle, &plan).await;
    refused(moved, ErrorCode::PlanMoved, "`Wh` was bound to nobody when planned, is bound to `stock` now");
    let plan = manager.plan(&bundle).await.unwrap();
    assert_eq!(plan["ground"]["others"], json!({"stock": 1}));
    manager.deploy_app(&STOCK.replace("5432", "5433")).await.unwrap();
    refused(
        manager.apply(&bundle, &plan).await,
        ErrorCode::PlanMoved,
        "`stock` was at revision 1 when planned, is at 2 now",
    );
    let plan = manager.plan(&bundle).await.unwrap();
    manager.apply(&bundle, &plan).await.unwrap();
}
