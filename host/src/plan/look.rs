//! A look into every object of the source: whether it can be read, has the columns that the plan reads, and no null where
//! an id must be. A new job of few objects was looked at while it was planned; a larger or an older one finds such objects
//! while it runs, unless somebody asks before.

use futures::StreamExt;

use super::{Plan, PlanError};
use crate::message::Message;
use crate::source::{self, Object, Opened, SourceError};

const AT_ONCE: usize = 16;

/// Everything that a run would refuse about the objects, a message each, in the source's order.
pub async fn look(plan: &Plan) -> Result<Vec<Message>, PlanError> {
    let objects = plan.source.objects.iter().map(|object| look_into(plan, object));
    let mut looked = futures::stream::iter(objects).buffered(AT_ONCE);
    let mut found = Vec::new();
    while let Some(defects) = looked.next().await {
        found.extend(defects?);
    }
    Ok(found)
}

async fn look_into(plan: &Plan, object: &Object) -> Result<Vec<Message>, PlanError> {
    match source::open(&plan.source.store, &*plan.source.format, object, 0).await {
        Ok(opened) => Ok(defects(plan, &opened)),
        Err(error @ SourceError::Bad { .. }) => Ok(vec![Message::brief(&error)]),
        Err(error) => Err(error.into()),
    }
}

fn defects(plan: &Plan, opened: &Opened) -> Vec<Message> {
    if let Err(error) = opened.check(&plan.source.columns) {
        return vec![Message::brief(&error)];
    }
    let ids = plan.ids.iter().flat_map(|ids| ids.schema.fields().iter());
    let nulls = ids
        .filter_map(|field| opened.nulls(field.name()).filter(|nulls| *nulls > 0).map(|nulls| (field.name(), nulls)));
    nulls
        .map(|(id, nulls)| {
            let (object, noun) = (&opened.object.path, if nulls == 1 { "null" } else { "nulls" });
            Message::new(format!("source object {object} has {nulls} {noun} in the id column `{id}`"))
                .hint("give every row an id, or leave `id` out so that rows are known by position")
        })
        .collect()
}
