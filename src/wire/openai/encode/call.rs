//! Tool calls told apart and numbered from 0, as clients of the dialect expect them.

/// The calls of one choice so far.
#[derive(Default)]
pub struct Calls {
    known: Vec<Known>,
}

struct Known {
    index: u32,
    id: Option<String>,
    has_name: bool,
    has_arguments: bool,
}

/// Where a piece of a call belongs.
pub struct Place<'a> {
    /// The call's number.
    pub at: usize,
    /// The piece begins it.
    pub is_new: bool,
    /// Its name, if this is the first piece that says it.
    pub name: Option<&'a str>,
}

impl Calls {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    /// The number of the call that the provider numbers `index`.
    pub fn find(&self, index: u32) -> Option<usize> {
        self.known.iter().rposition(|call| call.index == index)
    }

    /// Takes a piece; [`crate::chat::fold::Fold`] tells calls apart by the same rule.
    pub fn take<'a>(
        &mut self,
        index: u32,
        id: Option<&str>,
        name: Option<&'a str>,
        arguments: &str,
    ) -> Place<'a> {
        let id = id.filter(|id| !id.is_empty());
        let name = name.filter(|name| !name.is_empty());
        let continued = self.find(index).and_then(|at| {
            let call = self.known.get_mut(at)?;
            let is_other = id.is_some() && call.id.is_some() && call.id.as_deref() != id;
            (!(is_other && name.is_some())).then_some((at, call))
        });
        if let Some((at, call)) = continued {
            let name = name.filter(|_| !call.has_name);
            call.has_name |= name.is_some();
            call.has_arguments |= !arguments.is_empty();
            call.id = call.id.take().or_else(|| id.map(str::to_owned));
            return Place { at, is_new: false, name };
        }
        self.known.push(Known {
            index,
            id: id.map(str::to_owned),
            has_name: name.is_some(),
            has_arguments: !arguments.is_empty(),
        });
        Place { at: self.known.len() - 1, is_new: true, name }
    }

    /// The numbers of the calls that nothing was given to.
    pub fn without_arguments(&self) -> impl Iterator<Item = usize> {
        self.known.iter().enumerate().filter(|(_, call)| !call.has_arguments).map(|(at, _)| at)
    }
}

/// An id for a call that has none.
pub fn made_up_id(answer: &str, choice: u32, at: usize) -> String {
    match choice {
        0 => format!("call_{answer}_{at}"),
        choice => format!("call_{answer}_{choice}_{at}"),
    }
}
