//! The calls of an answer, which may grow beside each other.

use crate::wire::responses::answer::Event;
use crate::wire::responses::answer::Item;
use crate::wire::responses::output::Call;
use crate::wire::responses::output::Output;
use crate::wire::responses::tell::Tell;

impl Output {
    /// A piece of a call.
    pub fn call(
        &mut self,
        index: u32,
        (id, name): (Option<&str>, Option<&str>),
        arguments: &str,
        tell: &mut Tell,
        out: &mut Vec<u8>,
    ) {
        let (id, name) = (id.filter(|id| !id.is_empty()), name.filter(|name| !name.is_empty()));
        let known = self.calls.iter().rposition(|call| call.index == index);
        // Some servers send every call under one index: another id with a name begins another.
        let known = known.filter(|known| !self.is_another(*known, id, name));
        let known = known.unwrap_or_else(|| self.begin_call(index, id, name));
        let Some(call) = self.calls.get_mut(known) else { return };
        let at = call.at;
        let was_unnamed = call.is_unnamed;
        let Some(item) = self.items.get_mut(at) else { return };
        let (Item::Call { call_id, name: called, arguments: all, .. }
        | Item::Custom { call_id, name: called, input: all, .. }) = item
        else {
            return;
        };
        all.push_str(arguments);
        if was_unnamed {
            if let Some(id) = id {
                id.clone_into(call_id);
            }
            if let Some(name) = name {
                name.clone_into(called);
            }
            // An item is told by its name; until then its arguments wait.
            if called.is_empty() {
                return;
            }
            call.is_unnamed = false;
            self.call_added(at, tell, out);
        } else if !arguments.is_empty() {
            call_delta(item, at, arguments, tell, out);
        }
    }

    fn is_another(&self, known: usize, id: Option<&str>, name: Option<&str>) -> bool {
        let item = self.calls.get(known).and_then(|call| self.items.get(call.at));
        let is_unnamed = self.calls.get(known).is_some_and(|call| call.is_unnamed);
        match item {
            Some(Item::Call { call_id, .. } | Item::Custom { call_id, .. }) => {
                !is_unnamed && name.is_some() && id.is_some_and(|id| id != call_id)
            }
            _ => false,
        }
    }

    /// Takes a place among the items, which is told once the call has a name.
    fn begin_call(&mut self, index: u32, id: Option<&str>, name: Option<&str>) -> usize {
        let call_id = id.map_or_else(|| format!("call_{}_{index}", self.prefix), str::to_owned);
        let name = name.unwrap_or_default().to_owned();
        let status = "in_progress";
        let item = if self.custom.contains(&name) {
            let (id, input) = (self.id("ctc"), String::new());
            Item::Custom { id, status, call_id, name, input }
        } else {
            let (id, arguments) = (self.id("fc"), String::new());
            Item::Call { id, status, call_id, name, arguments }
        };
        self.items.push(item);
        self.calls.push(Call { index, at: self.items.len() - 1, is_unnamed: true });
        self.calls.len() - 1
    }

    /// Tells of a call that has its name now, and of the arguments there are.
    fn call_added(&mut self, at: usize, tell: &mut Tell, out: &mut Vec<u8>) {
        let Some(item) = self.items.get_mut(at) else { return };
        let swap = |item: &mut Item, with: String| match item {
            Item::Call { arguments: all, .. } | Item::Custom { input: all, .. } => {
                std::mem::replace(all, with)
            }
            _ => with,
        };
        let all = swap(item, String::new());
        let event = Event { output_index: Some(at), item: Some(item), ..Event::default() };
        tell.event("response.output_item.added", event, out);
        if !all.is_empty() {
            call_delta(item, at, &all, tell, out);
        }
        swap(item, all);
    }

    /// Ends every call.
    pub fn end_calls(&mut self, status: &'static str, tell: &mut Tell, out: &mut Vec<u8>) {
        for call in std::mem::take(&mut self.calls) {
            if call.is_unnamed {
                self.call_added(call.at, tell, out);
            }
            if let Some(item) = self.items.get_mut(call.at)
                && fill(item)
            {
                call_delta(item, call.at, "{}", tell, out);
            }
            self.item_done(call.at, status, tell, out);
        }
    }
}

/// Arguments are JSON also when there are none.
fn fill(item: &mut Item) -> bool {
    match item {
        Item::Call { arguments, .. } if arguments.trim().is_empty() => {
            "{}".clone_into(arguments);
            true
        }
        _ => false,
    }
}

fn call_delta(item: &Item, at: usize, delta: &str, tell: &mut Tell, out: &mut Vec<u8>) {
    let kind = match item {
        Item::Custom { .. } => "response.custom_tool_call_input.delta",
        _ => "response.function_call_arguments.delta",
    };
    let event = Event {
        item_id: Some(item.id()),
        output_index: Some(at),
        delta: Some(delta),
        ..Event::default()
    };
    tell.event(kind, event, out);
}
