//! One look for all who ask at the same time.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError, Weak};

/// Looks that many ask for: who asks while one is under way shares the next with all who do. No answer is older than its
/// question, and however many ask at once, there are two looks.
#[derive(Debug)]
pub(super) struct Shared<K, V>(Mutex<HashMap<K, Weak<Place<V>>>>);

/// Where those who ask the same meet; gone with the last of them. The number counts the looks that began here.
type Place<V> = (Mutex<u64>, tokio::sync::Mutex<Option<(u64, Arc<V>)>>);

impl<K, V> Default for Shared<K, V> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Eq + Hash, V> Shared<K, V> {
    /// What `look` finds, or what somebody found who began to look after this was called.
    pub(super) async fn get<E>(&self, key: K, look: impl AsyncFnOnce() -> Result<V, E>) -> Result<Arc<V>, E> {
        let place = self.place(key);
        let asked = *lock(&place.0);
        let mut last = place.1.lock().await;
        if let Some((number, found)) = &*last
            && *number > asked
        {
            return Ok(Arc::clone(found));
        }
        let number = {
            let mut begun = lock(&place.0);
            *begun += 1;
            *begun
        };
        let found = Arc::new(look().await?);
        *last = Some((number, Arc::clone(&found)));
        Ok(found)
    }

    fn place(&self, key: K) -> Arc<Place<V>> {
        let mut places = lock(&self.0);
        if let Some(place) = places.get(&key).and_then(Weak::upgrade) {
            return place;
        }
        places.retain(|_, place| place.strong_count() > 0);
        let place = Arc::new((Mutex::new(0), tokio::sync::Mutex::new(None)));
        places.insert(key, Arc::downgrade(&place));
        place
    }
}

/// Nothing panics while it holds one of these locks; were it so, what they guard would still be whole.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[tokio::test]
    async fn many_who_ask_at_once_share_two_looks() {
        let shared: Shared<&str, usize> = Shared::default();
        let looks = AtomicUsize::new(0);
        let ask = |key| {
            shared.get(key, async || {
                let number = looks.fetch_add(1, Ordering::SeqCst) + 1;
                for _ in 0..10 {
                    tokio::task::yield_now().await;
                }
                if number == 1 { Err("the first fails") } else { Ok(number) }
            })
        };
        assert_eq!(ask("a").await, Err("the first fails"));
        let answers = futures_util::future::join_all((0..100).map(|_| ask("a"))).await;
        assert_eq!(answers.first(), Some(&Ok(Arc::new(2))));
        // They asked before the second look began, or while it ran.
        assert!(answers.iter().skip(1).all(|answer| matches!(answer.as_deref(), Ok(2 | 3))), "{answers:?}");
        let before = looks.load(Ordering::SeqCst);
        assert!(before <= 3);
        assert_eq!(ask("a").await, Ok(Arc::new(before + 1)), "an answer is never older than its question");
        assert_eq!(ask("b").await, Ok(Arc::new(before + 2)), "another question");
        assert!(shared.place("b").1.try_lock().unwrap().is_none(), "nothing is kept");
    }
}
