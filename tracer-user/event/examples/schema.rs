//! Prints the event's JSON Schema: the content of `schema/event.schema.json`.

fn main() {
    print!("{}", tracer_event::schema::json_schema());
}
