//! Generates the messages of the official `onnx-ml.proto` and a table of their fields, which the search for unknown
//! fields walks. protox is a compiler in pure Rust: no `protoc` is needed.

use std::error::Error;
use std::fmt::Write;

const PROTO: &str = "proto/onnx-ml.proto";

/// Fields that carry weights or strings which need not be UTF-8: shared slices of the file instead of copies.
const SHARED: [&str; 4] = [
    ".onnx.TensorProto.raw_data",
    ".onnx.TensorProto.string_data",
    ".onnx.AttributeProto.s",
    ".onnx.AttributeProto.strings",
];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed={PROTO}");
    let files = protox::compile([PROTO], ["proto"])?;
    let out = std::env::var("OUT_DIR")?;

    // Every message with its full name, nested ones included, in a fixed order.
    let mut messages = Vec::new();
    let mut open = Vec::new();
    for file in &files.file {
        open.extend(file.message_type.iter().map(|m| (format!(".{}.{}", file.package(), m.name()), m)));
    }
    while let Some((name, message)) = open.pop() {
        open.extend(message.nested_type.iter().map(|m| (format!("{name}.{}", m.name()), m)));
        messages.push((name, message));
    }
    messages.sort_by(|a, b| a.0.cmp(&b.0));

    let mut table = String::from("pub(crate) static MESSAGES: &[Message] = &[\n");
    for (name, message) in &messages {
        let short = name.rsplit('.').next().unwrap_or(name);
        writeln!(table, "Message {{ name: {short:?}, fields: &[")?;
        for field in &message.field {
            let kind = messages.iter().position(|(n, _)| n == field.type_name());
            // Label 3 is LABEL_REPEATED of descriptor.proto.
            let repeated = field.label == Some(3);
            let (number, name) = (field.number(), field.name());
            writeln!(table, "Field {{ number: {number}, name: {name:?}, message: {kind:?}, repeated: {repeated} }},")?;
        }
        table.push_str("] },\n");
    }
    table.push_str("];\n");
    std::fs::write(format!("{out}/schema.rs"), table)?;

    let mut config = prost_build::Config::new();
    config.bytes(SHARED);
    config.compile_fds(files)?;
    Ok(())
}
