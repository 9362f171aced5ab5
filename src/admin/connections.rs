//! The open connections of the admin API. When there are too many, the one that has been idle longest gives way: silent
//! connections must not keep a probe out.

use std::cell::{Cell, OnceCell, RefCell};
use std::rc::Rc;
use tokio::task::AbortHandle;

/// Admin connections open at once; a further one takes the place of the one that has been idle longest.
pub(crate) const CONNECTIONS_MAX: usize = 64;

/// All of them.
#[derive(Default)]
pub(crate) struct Connections {
    open: RefCell<Vec<Rc<Connection>>>,
    events: Cell<u64>,
}

/// One of them.
#[derive(Default)]
pub(crate) struct Connection {
    /// A request is being served.
    is_busy: Cell<bool>,
    /// Number of the last event: when it began to be idle, or busy.
    since: Cell<u64>,
    task: OnceCell<AbortHandle>,
}

impl Connections {
    /// Adds a connection, and makes room for it.
    pub(crate) fn add(&self) -> Rc<Connection> {
        if self.open.borrow().len() >= CONNECTIONS_MAX {
            self.close_one();
        }
        let connection = Rc::<Connection>::default();
        self.mark(&connection, false);
        self.open.borrow_mut().push(Rc::clone(&connection));
        connection
    }

    /// Closes the connection that has been idle longest; if all are busy, the one that has been busy longest. False if there
    /// is none.
    pub(crate) fn close_one(&self) -> bool {
        let mut open = self.open.borrow_mut();
        let order = |connection: &Connection| (connection.is_busy.get(), connection.since.get());
        let all = open.iter().enumerate();
        let first = all.min_by_key(|(_, connection)| order(connection));
        let closed = first.map(|(index, _)| index);
        let closed = closed.map(|index| open.swap_remove(index));
        drop(open);
        if let Some(task) = closed.as_ref().and_then(|closed| closed.task.get()) {
            task.abort();
        }
        closed.is_some()
    }

    /// Notes that a request of the connection begins or ends.
    pub(crate) fn mark(&self, connection: &Connection, is_busy: bool) {
        self.events.set(self.events.get() + 1);
        connection.since.set(self.events.get());
        connection.is_busy.set(is_busy);
    }

    /// Removes a connection that has ended.
    pub(crate) fn remove(&self, connection: &Rc<Connection>) {
        let mut open = self.open.borrow_mut();
        open.retain(|other| !Rc::ptr_eq(other, connection));
    }
}

impl Connection {
    /// Sets the task that serves it.
    pub(crate) fn served_by(&self, task: AbortHandle) {
        let _ = self.task.set(task);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_one_that_has_been_idle_longest_gives_way_and_busy_ones_are_last() {
        let connections = Connections::default();
        let all: Vec<_> = (0..CONNECTIONS_MAX).map(|_| connections.add()).collect();
        connections.mark(&all[0], true);
        connections.mark(&all[1], true);
        connections.mark(&all[1], false);
        let is_open = |index: usize| {
            let open = connections.open.borrow();
            open.iter().any(|other| Rc::ptr_eq(other, &all[index]))
        };
        let _new = connections.add();
        assert!(is_open(0) && is_open(1) && !is_open(2) && is_open(3));
        connections.remove(&all[3]);
        assert_eq!(connections.open.borrow().len(), CONNECTIONS_MAX - 1);
        for _ in 0..CONNECTIONS_MAX - 2 {
            connections.close_one();
        }
        assert!(is_open(0), "a busy one is the last");
    }
}
