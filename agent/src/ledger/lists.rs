//! Maps whose keys are more than a text, as lists: JSON has no other way.

/// Records by their specification's key.
pub(super) mod records {
    use std::collections::BTreeMap;

    use robo_model::spec::InstanceKey;
    use serde::{Deserialize as _, Deserializer, Serializer};

    use crate::ledger::Record;

    pub(in crate::ledger) fn serialize<S: Serializer>(
        records: &BTreeMap<InstanceKey, Record>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        to.collect_seq(records.values())
    }

    pub(in crate::ledger) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<BTreeMap<InstanceKey, Record>, D::Error> {
        let records = Vec::<Record>::deserialize(from)?;
        Ok(records.into_iter().map(|record| (record.spec.key.clone(), record)).collect())
    }
}

/// Imports: one entry per prefix and provider.
pub(super) mod imports {
    use robo_model::name::ComponentName;
    use robo_model::resolve::{Imported, Imports};
    use robo_model::spec::InstanceKey;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[derive(Serialize)]
    struct Out<'a> {
        prefix: &'a ComponentName,
        provider: &'a InstanceKey,
        imported: &'a Imported,
    }

    #[derive(Deserialize)]
    struct In {
        prefix: ComponentName,
        provider: InstanceKey,
        imported: Imported,
    }

    pub(in crate::ledger) fn serialize<S: Serializer>(imports: &Imports, to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(imports.iter().flat_map(|(prefix, providers)| {
            providers.iter().map(move |(provider, imported)| Out { prefix, provider, imported })
        }))
    }

    pub(in crate::ledger) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Imports, D::Error> {
        let mut imports = Imports::new();
        for In { prefix, provider, imported } in Vec::<In>::deserialize(from)? {
            imports.entry(prefix).or_default().insert(provider, imported);
        }
        Ok(imports)
    }
}
