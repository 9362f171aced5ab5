//! Spawns tasks on a core. A panic ends only its own task.
//!
//! monoio does not catch panics: an uncaught one would end the core's thread and all of its streams.

use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::task::Poll;

/// Runs `task` on this core. If it panics, the task is dropped and `on_panic` receives the message.
pub fn spawn<T>(task: T, on_panic: impl FnOnce(&str) + 'static)
where
    T: Future<Output = ()> + 'static,
{
    // Boxed before it is moved: a future that is captured by value and then pinned takes its space twice.
    let mut task = Box::pin(task);
    drop(monoio::spawn(async move {
        let outcome =
            poll_fn(
                |cx| match catch_unwind(AssertUnwindSafe(|| task.as_mut().poll(cx))) {
                    Ok(Poll::Pending) => Poll::Pending,
                    Ok(Poll::Ready(())) => Poll::Ready(None),
                    Err(panic) => Poll::Ready(Some(panic)),
                },
            )
            .await;
        if let Some(panic) = outcome {
            let message = panic
                .downcast_ref::<&str>()
                .copied()
                .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
                .unwrap_or("a panic without a message");
            on_panic(message);
        }
    }));
}
