//! Random DDL, through two catalogs over one store, against a plain map of names.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

const DATABASES: [&str; 2] = [DB, "second"];
const NAMES: [&str; 4] = ["a", "b", "c", "d"];

#[derive(Clone, Debug)]
enum Step {
    Create(usize, usize),
    Drop(usize, usize),
    Finish,
    Rename([usize; 4]),
    CreateAlias(usize, usize, usize),
    AlterAlias(usize, usize, usize),
    DropAlias(usize, usize),
    Reopen,
}

fn step() -> impl Strategy<Value = Step> {
    let (db, name) = (0..DATABASES.len(), 0..NAMES.len());
    let pair = || (db.clone(), name.clone());
    let triple = || (db.clone(), name.clone(), name.clone());
    prop_oneof![
        4 => pair().prop_map(|(d, n)| Step::Create(d, n)),
        3 => pair().prop_map(|(d, n)| Step::Drop(d, n)),
        1 => Just(Step::Finish),
        2 => (pair(), pair()).prop_map(|((d, n), (e, m))| Step::Rename([d, n, e, m])),
        3 => triple().prop_map(|(d, a, n)| Step::CreateAlias(d, a, n)),
        2 => triple().prop_map(|(d, a, n)| Step::AlterAlias(d, a, n)),
        2 => pair().prop_map(|(d, a)| Step::DropAlias(d, a)),
        1 => Just(Step::Reopen),
    ]
}

/// What a name is: a collection by the number of its creation, or an alias of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Is {
    Collection(u32),
    Alias(u32),
}

#[derive(Debug, Default)]
struct Model {
    names: BTreeMap<(usize, usize), Is>,
    dropping: BTreeSet<u32>,
    made: u32,
}

impl Model {
    fn aliases_of(&self, collection: u32) -> usize {
        self.names
            .values()
            .filter(|is| **is == Is::Alias(collection))
            .count()
    }

    /// Applies a step; false when it is to be refused.
    fn apply(&mut self, step: &Step) -> bool {
        let at = |d: usize, n: usize| self.names.get(&(d, n)).copied();
        match *step {
            Step::Create(d, n) => match at(d, n) {
                Some(Is::Alias(_)) => return false,
                Some(Is::Collection(_)) => {}
                None => {
                    self.made += 1;
                    self.names.insert((d, n), Is::Collection(self.made));
                }
            },
            Step::Drop(d, n) => match at(d, n) {
                Some(Is::Alias(_)) => return false,
                Some(Is::Collection(c)) if self.aliases_of(c) > 0 => return false,
                Some(Is::Collection(c)) => {
                    self.names.remove(&(d, n));
                    self.dropping.insert(c);
                }
                None => {}
            },
            Step::Finish => self.dropping.clear(),
            Step::Rename([d, n, e, m]) => {
                let Some(Is::Collection(c)) = at(d, n) else {
                    return false;
                };
                if at(e, m).is_some() || (d != e && self.aliases_of(c) > 0) {
                    return false;
                }
                self.names.remove(&(d, n));
                self.names.insert((e, m), Is::Collection(c));
            }
            Step::CreateAlias(d, a, n) => {
                let Some(Is::Collection(c)) = at(d, n) else {
                    return false;
                };
                if at(d, a).is_some_and(|is| is != Is::Alias(c)) {
                    return false;
                }
                self.names.insert((d, a), Is::Alias(c));
            }
            Step::AlterAlias(d, a, n) => {
                let (Some(Is::Collection(c)), Some(Is::Alias(_))) = (at(d, n), at(d, a)) else {
                    return false;
                };
                self.names.insert((d, a), Is::Alias(c));
            }
            Step::DropAlias(d, a) => match at(d, a) {
                Some(Is::Collection(_)) => return false,
                Some(Is::Alias(_)) | None => {
                    self.names.remove(&(d, a));
                }
            },
            Step::Reopen => {}
        }
        true
    }
}

async fn perform(catalog: &Catalog, step: &Step) -> Result<(), Failure> {
    let (db, name) = (|d: usize| DATABASES[d], |n: usize| NAMES[n]);
    match *step {
        Step::Create(d, n) => catalog
            .create_collection(db(d), &new(name(n)), at(2))
            .await
            .map(drop),
        Step::Drop(d, n) => catalog
            .begin_drop_collection(db(d), name(n), at(2))
            .await
            .map(drop),
        Step::Finish => {
            for collection in catalog.snapshot().list_dropping() {
                catalog.finish_drop_collection(collection.id).await?;
            }
            Ok(())
        }
        Step::Rename([d, n, e, m]) => catalog
            .rename_collection(db(d), name(n), db(e), name(m), at(2))
            .await
            .map(drop),
        Step::CreateAlias(d, a, n) => catalog.create_alias(db(d), name(a), name(n)).await,
        Step::AlterAlias(d, a, n) => catalog.alter_alias(db(d), name(a), name(n)).await,
        Step::DropAlias(d, a) => catalog.drop_alias(db(d), name(a)).await,
        Step::Reopen => Ok(()),
    }
}

/// Every name stands for what the model says, and collections are told apart as the model tells them.
fn compare(snapshot: &CatalogSnapshot, model: &Model) {
    let mut numbers: BTreeMap<u32, CollectionId> = BTreeMap::new();
    for (d, database) in DATABASES.iter().enumerate() {
        for (n, name) in NAMES.iter().enumerate() {
            let found = snapshot.resolve(database, name);
            match model.names.get(&(d, n)) {
                None => assert!(found.is_err(), "{database}.{name}: {found:?}"),
                Some(is @ (Is::Collection(number) | Is::Alias(number))) => {
                    let found = found.unwrap();
                    assert_eq!(*numbers.entry(*number).or_insert(found.id), found.id);
                    assert_eq!(*is == Is::Collection(*number), found.name == *name);
                    let is_alias = snapshot.alias(database, name).is_ok();
                    assert_eq!(*is == Is::Alias(*number), is_alias);
                    assert_eq!(found.aliases.iter().any(|a| a == name), is_alias);
                    assert_eq!(found.aliases.len(), model.aliases_of(*number));
                }
            }
        }
        let listed = snapshot.collections_of(database).unwrap();
        let expected =
            |(at, is): (&(usize, usize), &Is)| at.0 == d && matches!(is, Is::Collection(_));
        assert_eq!(
            listed.len(),
            model.names.iter().filter(|e| expected(*e)).count()
        );
        let aliases = snapshot.aliases_of(database).unwrap();
        let expected = |(at, is): (&(usize, usize), &Is)| at.0 == d && matches!(is, Is::Alias(_));
        assert_eq!(
            aliases.len(),
            model.names.iter().filter(|e| expected(*e)).count()
        );
    }
    let distinct: BTreeSet<_> = numbers.values().collect();
    assert_eq!(distinct.len(), numbers.len());
    assert_eq!(snapshot.list_dropping().len(), model.dropping.len());
    assert_eq!(
        snapshot.collections_count(),
        numbers.len() + model.dropping.len()
    );
}

async fn run(steps: Vec<(bool, Step)>) {
    let store = Arc::new(MemoryStore::new());
    let mut catalogs = [open(&store).await, open(&store).await];
    catalogs[0]
        .create_database(DATABASES[1], vec![], at(1))
        .await
        .unwrap();
    let mut model = Model::default();
    for (step_number, (second, step)) in steps.into_iter().enumerate() {
        let acting = usize::from(second);
        if matches!(step, Step::Reopen) {
            catalogs[acting] = open(&store).await;
        }
        // The other one did the last change, so this one may be behind. What it does must be right all the
        // same; only its list of dropping collections is a snapshot's word and has to be waited for.
        if matches!(step, Step::Finish) {
            catch_up(&catalogs).await;
        }
        let result = perform(&catalogs[acting], &step).await;
        let accepted = model.apply(&step);
        assert_eq!(result.is_ok(), accepted, "{step:?}: {result:?}");
        if accepted {
            let other = catalogs[1 - acting].snapshot().revision();
            if catalogs[acting].snapshot().revision() > other {
                // It saw its own change before the call returned.
                compare(&catalogs[acting].snapshot(), &model);
            }
        }
        if step_number % 3 == 0 {
            catch_up(&catalogs).await;
            for catalog in &catalogs {
                compare(&catalog.snapshot(), &model);
            }
        }
    }
}

/// Waits until both catalogs have seen everything that either of them did.
async fn catch_up(catalogs: &[Arc<Catalog>; 2]) {
    let newest = catalogs.iter().map(|c| c.snapshot().revision()).max();
    for catalog in catalogs {
        soon(catalog.view.reached(newest.unwrap())).await.unwrap();
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn random_ddl_agrees_with_a_map_of_names(
        steps in proptest::collection::vec((any::<bool>(), step()), 1..60)
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(run(steps));
    }
}
