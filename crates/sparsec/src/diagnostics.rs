//! Every code that errors and remarks carry, explained. Codes are never used for anything else again.
//!
//! `docs/diagnostics.md` is made of this by `UPDATE_DOCS=1 cargo test`; a test compares.

use serde::Serialize;

/// A code with its explanation.
#[derive(Debug, Serialize)]
pub(crate) struct Entry {
    /// `S` and four digits; the first two say the area.
    pub(crate) code: &'static str,
    /// What happened, in a line.
    pub(crate) title: &'static str,
    /// What it means and why it is checked.
    pub(crate) text: &'static str,
    /// What to do about it.
    pub(crate) action: &'static str,
}

const fn entry(code: &'static str, title: &'static str, text: &'static str, action: &'static str) -> Entry {
    Entry { code, title, text, action }
}

/// The entry of a code.
pub(crate) fn find(code: &str) -> Option<&'static Entry> {
    ENTRIES.iter().find(|e| e.code.eq_ignore_ascii_case(code))
}

/// Every code, sorted.
pub(crate) const ENTRIES: &[Entry] = &[
    entry(
        "S0001",
        "defect of sparsec",
        "The program reached a state that its authors thought impossible. No input, however broken, should lead here.",
        "report it, with the message, the command line and, if you may share it, the model. Outputs of the run were not written.",
    ),
    entry(
        "S0003",
        "cannot write an output",
        "A file could not be created, written or renamed, or a folder is where a file should be, or a file where a folder should be. Files appear whole or not at all, so what was there before is unchanged.",
        "look at the path, its permissions and the free space of the disk. The folder of the output must be writable, too: a \
         temporary file is made there.",
    ),
    entry(
        "S0004",
        "interrupted",
        "Ctrl-C was pressed. No output was written; earlier ones are whole. `compile` and `sensitivity` keep what they had measured.",
        "run the command again: it goes on from what was measured. A second Ctrl-C ends the process at once.",
    ),
    entry(
        "S0005",
        "no such code",
        "There is no error or remark of this code.",
        "`sparsec explain` without a code lists all.",
    ),
    entry(
        "S0006",
        "nothing to compile for",
        "A compilation makes a model hold limits or masks its weights, and neither was asked for.",
        "pass a limit such as `--max-macs 50%`, `--max-latency 60%`, `--max-size 2MiB` or `--max-drop 1.0`, or masks such as `--mask 4x1`.",
    ),
    entry(
        "S0007",
        "nothing to reduce",
        "A model is shrunk as long as a command goes on failing on it. The command does not fail on the model as it is, or cannot be \
         started.",
        "look at the command that the message names: run by itself it must fail, or, where it is not sparsec's own, end with 0.",
    ),
    entry(
        "S0101",
        "the model file cannot be read",
        "The path leads to nothing, to a folder or device, or to a file that you may not read.",
        "look at the path and its permissions.",
    ),
    entry(
        "S0102",
        "not an ONNX model",
        "The bytes are not an encoded `ModelProto`, or lack what every model has: an IR version, a graph, an operator set. Files that \
         were cut off while copying, pointers of Git LFS, and models of other formats look like this.",
        "compare the file's size and checksum with the original. Models of other frameworks must be exported to ONNX first.",
    ),
    entry(
        "S0103",
        "a tensor contradicts itself",
        "The sizes, the element type and the data of a constant do not fit each other, so its values cannot be known.",
        "export the model again; `onnx.checker.check_model` of the Python package names the same tensor.",
    ),
    entry(
        "S0104",
        "external data cannot be used",
        "The model keeps weights in other files beside it. One of them is missing, too short, or outside the model's folder, which is \
         refused because a model file could then read any file of yours.",
        "copy the data files together with the model, under the names that the model has for them.",
    ),
    entry(
        "S0105",
        "the graph is broken",
        "A value has two definitions or none, has no name, or depends on itself. Such a graph has no order of execution.",
        "export the model again, or repair it with the tool that wrote it.",
    ),
    entry(
        "S0106",
        "an attribute is broken",
        "An attribute of a node is given twice, has no value, or has a type that the standard does not know.",
        "export the model again, or repair it with the tool that wrote it.",
    ),
    entry(
        "S0107",
        "a text is no graph",
        "Files that end in `.onnxtxt` hold a graph in ONNX's text syntax. The message gives line and column.",
        "look at the place that the message names. `sparsec opt MODEL --weights full` prints a graph that can be read back.",
    ),
    entry(
        "S0108",
        "an operator set is not imported",
        "A node is of an operator set that the model, or the function around the node, does not import, so the version of the operator \
         is not known. Runtimes refuse such files.",
        "export the model again, or add the operator set to `opset_import`.",
    ),
    entry(
        "S0109",
        "a file of operators is broken",
        "`--ops` names a YAML file that teaches operators. It is no YAML, has a key or word that is not known, names an axis in a \
         way that cannot be read, or teaches an operator that sparsec knows. The message gives line and column.",
        "compare with the examples of `docs/teaching.md`.",
    ),
    entry(
        "S0201",
        "samples cannot be read",
        "A file of samples cannot be opened, is cut off, or declares sizes that its bytes do not bear out. Python objects, text and \
         structured types are not read.",
        "store plain arrays with `numpy.savez`; `numpy.load` with `allow_pickle=False` must be able to read them.",
    ),
    entry(
        "S0202",
        "no samples in a known form",
        "Samples are an `.npz` file with an array for each input, an `.npy` file for a model with one input, a folder of such files, a \
         folder of images, or a folder with one folder of images a class. Kinds are not mixed in a folder.",
        "bring the samples into one of these forms.",
    ),
    entry(
        "S0203",
        "arrays do not match the inputs",
        "The arrays of an `.npz` file are named as the graph's inputs, and one may be named `label`; or, for samples that differ in size, \
         `0/INPUT`, `1/INPUT` and so on, a number for each run. Every input needs its array, and \
         an array that belongs to no input is refused, because it is most likely a misspelt one.",
        "rename the arrays; `sparsec inspect` shows the inputs. Inputs that are not dense tensors of numbers cannot be fed.",
    ),
    entry(
        "S0204",
        "elements do not become the input's type",
        "Whole numbers become floats, and other whole numbers if every value fits. Floats do not become whole numbers: which rounding \
         is meant cannot be known.",
        "store the array in the type that the input takes.",
    ),
    entry(
        "S0205",
        "shapes do not match the inputs",
        "The first axis of an array counts samples. The others must have the sizes that the model fixes; sizes that it leaves open may \
         be any. An input without an axis for a batch takes arrays of one axis more, in front.",
        "reshape the array; the message names the axis and both sizes.",
    ),
    entry(
        "S0206",
        "arrays do not fit each other",
        "All inputs and the label must have the same number of samples, and the files of a folder the same arrays with the same types \
         and shapes of a sample. Samples of several shapes calibrate, but a metric is taken of samples of one.",
        "store arrays of the same samples in the same order.",
    ),
    entry(
        "S0207",
        "NaN or infinity among the samples",
        "One such element makes every statistic computed from the samples useless, so it is refused. The message gives its index.",
        "remove the sample or repair the element.",
    ),
    entry(
        "S0208",
        "images do not become the input",
        "Images need a stated preprocessing, since a wrong one silently ruins accuracy: the size of the shorter side, the centred crop, \
         the factor on pixels, and mean and standard deviation of each channel. The result must have the size that the model takes.",
        "pass `--image` with what the model was trained with.",
    ),
    entry(
        "S0209",
        "too many samples",
        "Samples are held in memory, and one input may take 4 GiB at most.",
        "pass `--max-samples`. A few hundred samples calibrate most models.",
    ),
    entry(
        "S0210",
        "the batch size does not fit",
        "The model fixes the first size of its inputs, so it runs only batches of exactly that many samples.",
        "give at least one whole batch, or export the model with a dynamic batch. Where the first axis is no batch, give the arrays one \
         axis more, in front.",
    ),
    entry(
        "S0211",
        "a scale is wrong",
        "`--scale NAME=FACTOR` multiplies one input, once, by a finite number other than 0. The name may be left out where the model has \
         one input. Images are scaled by `--image`.",
        "name an input of the model.",
    ),
    entry(
        "S0221",
        "labels cannot be read",
        "Labels are class numbers, counted from 0. Label −100 means to ignore the element.",
        "look at the label that the message names; labels that count from 1 must be lowered by one.",
    ),
    entry(
        "S0222",
        "outputs and reference do not fit",
        "A metric of classes needs outputs with a class axis, the last or axis 1, and labels with the sizes of the others. A distance \
         needs outputs and reference of the same sizes.",
        "choose another metric, or store the labels in the shape of the first output.",
    ),
    entry(
        "S0223",
        "the metric has no value",
        "The first output holds NaN, or there is nothing to average over: all labels are ignored, or all of one class.",
        "look at the model's outputs on these samples, and at the labels.",
    ),
    entry(
        "S0224",
        "nothing to compare with",
        "Some metrics compare outputs with labels, others with the outputs of the dense model.",
        "store an array `label` beside the inputs, or name the dense model with `--dense`.",
    ),
    entry(
        "S0225",
        "outputs do not count samples",
        "Metrics are computed from the first output, which must hold one row for each sample along its first axis.",
        "export the model so that its first output is the prediction, with the batch in front.",
    ),
    entry(
        "S0226",
        "inputs cannot be made up",
        "To price or time a model without samples, every size of its inputs must be known, and only sizes that the model leaves open can be given.",
        "pass `--batch N` for the first axis, `--dim NAME=N` with a name that the inputs have, or `--data` with samples.",
    ),
    entry(
        "S0301",
        "no such pass",
        "A pass is named on the command line, and there is none of this name.",
        "`sparsec opt --help` lists the passes.",
    ),
    entry(
        "S0302",
        "the model cannot be made canonical",
        "The graph contradicts itself, a function calls itself, or a constant is not what it says. The message names the place.",
        "check the model with `onnx.checker`, and export it again.",
    ),
    entry(
        "S0303",
        "a pass is defective",
        "A pass left a broken graph, changed it unasked, or does not come to rest. No model should lead here.",
        "please report it, with the model if you may share it. `--verify-each` names the first pass that breaks it, `--rewrite-limit` the rewrite.",
    ),
    entry(
        "S0304",
        "no such slot",
        "A slot is `VALUE:AXIS` or `VALUE:AXIS:INDEX`, both counted from 0; in place of a value, a node stands for its first result. Names are those of the \
         canonical graph: values that were folded into constants or merged are gone.",
        "`sparsec opt MODEL` prints the canonical graph with its names.",
    ),
    entry(
        "S0305",
        "a node is wrong",
        "An attribute is of another type than the operator has, or operands that the standard gives one element type are of several. \
         No runtime could give such a node a meaning. The message names the node.",
        "export the model again, or repair the node; where the types are meant, put a `Cast` between.",
    ),
    entry(
        "S0321",
        "the file contradicts its operators",
        "The file states a type or size of a value that the operators before it do not give. Exporters do write such files; what follows \
         from the operators is used.",
        "nothing needs to be done; `onnx.shape_inference` of the Python package can write the statements anew.",
    ),
    entry(
        "S0322",
        "weights are not finite",
        "A constant holds NaN, or a weight infinity, and so will what is computed from it. The first 256 MiB of a model's constants are \
         looked at.",
        "look at how the model was trained or converted: it cannot give sensible outputs where the constant is used.",
    ),
    entry(
        "S0401",
        "the plan cannot be read",
        "The file is no plan, or of a form that this build does not read. The message gives line and column. A plan has the keys `schema: sparsec/plan@1` and \
         `groups`, and may have `model_sha256`, `target`, `concessions`, `branches` (names of the terms that go, a line each: `- getitem_6`) and `masks`; \
         a group has `id`, `units` and `keep` (`0-3, 6`), and may have `layers` and `why`; a mask has `weight`, `pattern` and `density`, and may have \
         `kept` and `why`.",
        "compare with a plan that `sparsec plan` writes.",
    ),
    entry(
        "S0402",
        "the plan does not fit the model",
        "The plan names a group, unit or weight that the model does not have, or names one twice, or leaves a group nothing; or a mask has a pattern that its weight \
         cannot have, or is of another size.",
        "`sparsec inspect --groups` lists groups and units. A plan fits the model that it was made for; groups have the same names in a re-trained one.",
    ),
    entry(
        "S0403",
        "the plan is for another model",
        "The plan states the SHA-256 of the model file that it was made for, and this file has another.",
        "make a plan for this model. Where the weights differ but the graph is the same, the plan can be used: drop `model_sha256` from it.",
    ),
    entry(
        "S0404",
        "the curves do not fit",
        "The file holds no curves, is of another form, or is of a model with other groups.",
        "measure them with `sparsec sensitivity`, on this model.",
    ),
    entry(
        "S0405",
        "limits cannot be met",
        "Nothing more can be cut, and a limit does not hold still: what is left is frozen, or the last share of every group that is never cut. The plan \
         that comes closest was written.",
        "relax the limit. `sparsec inspect` says what is frozen and why.",
    ),
    entry(
        "S0406",
        "the smaller model differs",
        "Removing channels must leave what masking them leaves, to rounding, and the weights that were not re-solved; a masked \
         weight must be zero where the plan says; the canonical model that is cut must compute what the file does. One of these \
         is not so, or no output is a finite number, which shows nothing: the model is not the one that the plan leads to, or a rule of an operator or a pass is wrong.",
        "check that model, smaller model and plan belong together; if they do, please report it.",
    ),
    entry(
        "S0407",
        "the smaller model is another one",
        "Removing channels keeps inputs and outputs as they are: a model with others does not come from this dense model.",
        "name the dense model first, then the one that `sparsec apply` or `sparsec compile` made of it.",
    ),
    entry(
        "S0411",
        "channels cannot be removed",
        "A node or constant cannot follow the cut. The message names it.",
        "take the group that the node belongs to out of the plan; please report the model if you may share it.",
    ),
    entry(
        "S0412",
        "activations are not finite",
        "An activation overflows on the samples, so nothing can be measured on it.",
        "check the scale of the samples (`--scale`), and the model.",
    ),
    entry(
        "S0413",
        "statistics cannot be computed",
        "A weight or activation is not what the measurement is made for. The message names it.",
        "try another runtime; where that fails too, please report it.",
    ),
    entry(
        "S0414",
        "few calibration samples",
        "Units are ranked, and weights solved anew, by regression on activations. With fewer observations of an activation than it has channels, or fewer than \
         32 samples that differ, regression fits the samples rather than the task, and the error that is measured is too small. Then covariances are \
         shrunk, error curves are measured on samples that the statistics have not seen, and no plan faster than the limits ask for is looked for.",
        "give as many samples as the message says, better a few hundred; they need no labels.",
    ),
    entry(
        "S0415",
        "units ordered by their weights",
        "An activation does not vary over the samples, or has so many channels (more than 4,096) that their covariances would not fit into memory, so nothing \
         can be said of its channels by them. Their order is that of the squared L2 norm of their weights, the largest kept first.",
        "look whether the samples are what the model is used for. Channels that are dead in training look like this, too, and may leave.",
    ),
    entry(
        "S0416",
        "the samples tell nothing",
        "All elements of the inputs are the same, or no activation varies over the samples: one sample without positions, copies of one sample, a scale that \
         makes all values nearly 0. Which channels matter cannot be known.",
        "give samples as the model meets them in use. `--random-plan` cuts without samples.",
    ),
    entry(
        "S0417",
        "something cannot be given up",
        "Entries of an output or of a table can be given up where nothing that stays depends on them. Here the value, axis or index is not in the canonical model, \
         or an operator needs the entry: a softmax or a sum over the axis, or a second use of the same weight. The message names it.",
        "`sparsec why MODEL VALUE:AXIS:INDEX` shows the way from the entry to what needs it. Where an embedding is also the last \
         layer's weight, give up the same entries of both: `--give-up logits:2=90-99 --give-up embedding.weight:0=90-99`.",
    ),
    entry(
        "S0418",
        "a mask is left open",
        "The plan says how much of a weight stays, but not what. Which weights are zero is chosen on samples, and the others are solved anew on them.",
        "pass `--data SAMPLES`, or a plan that `sparsec compile` has written, which has the masks in it.",
    ),
    entry(
        "S0501",
        "the runtime lacks an operator",
        "The runtime cannot run an operator of the model, or is known to compute it wrongly.",
        "run with `--runtime ort=PATH`, PATH being the folder of an installed `onnxruntime` package.",
    ),
    entry(
        "S0502",
        "the runtime refuses the model",
        "The model could not be prepared for these input shapes.",
        "run it with another runtime; where that refuses it too, the model is broken.",
    ),
    entry(
        "S0503",
        "the model fails while running",
        "An operator failed or the runtime panicked, on these samples.",
        "look at the node that the message names and at the samples; try another runtime.",
    ),
    entry(
        "S0504",
        "no such runtime",
        "Runtimes are `tract`, which is built in, and `ort=PATH`, ONNX Runtime's shared library. Opening a library runs its code, so its \
         path must come from you.",
        "name the library, or the folder of an installed `onnxruntime` package.",
    ),
    entry(
        "S0505",
        "inputs do not fit the session",
        "A model was fed other inputs than those it was prepared for.",
        "look at the samples: their sizes must be the same in every batch.",
    ),
    entry(
        "S0506",
        "a run would take too much memory",
        "Before a model runs, the sizes of its activations are added up while they are alive. Where they would take more than 2 GiB, and \
         more than eight times the weights, the run is refused. Models with a constant that fills in billions of elements look like this.",
        "run fewer samples at a time, or smaller inputs.",
    ),
    entry(
        "S0601",
        "no such target",
        "A target is the name of a built-in one or the path to a target file.",
        "`sparsec target list` lists the built-in ones; `sparsec target show NAME > FILE` makes a file to start from.",
    ),
    entry(
        "S0602",
        "a target file is broken",
        "The file cannot be read, is no YAML, has a key that is not known or lacks one, or a figure is out of range. The message gives \
         line and column.",
        "compare with `sparsec target show generic-x86`.",
    ),
    entry(
        "S0701",
        "the report cannot be used",
        "The file is no report, or of a form that this build does not read, or the page cannot be made.",
        "compile again with this build.",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;
    use std::fmt::Write;

    fn page() -> String {
        let mut out = "# Errors and remarks\n\nMade from `crates/sparsec/src/diagnostics.rs`; `sparsec explain CODE` prints the same.\n".to_string();
        for e in ENTRIES {
            write!(out, "\n## {}: {}\n\n{}\n\nWhat to do: {}\n", e.code, e.title, e.text, e.action).unwrap();
        }
        out
    }

    #[test]
    fn codes_are_sorted_and_unique() {
        assert!(ENTRIES.windows(2).all(|w| w[0].code < w[1].code));
        assert!(ENTRIES.iter().all(|e| e.code.len() == 5 && e.code.starts_with('S')));
    }

    #[test]
    fn every_code_that_errors_carry_is_explained() {
        let source = include_str!("error.rs");
        let used: Vec<&str> =
            source.match_indices("\"S0").map(|(at, _)| &source[at + 1..at + 6]).filter(|c| c.len() == 5).collect();
        assert!(used.len() > 20);
        for code in used {
            assert!(find(code).is_some(), "{code}");
        }
    }

    #[test]
    fn the_page_is_up_to_date() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/diagnostics.md");
        if std::env::var_os("UPDATE_DOCS").is_some() {
            std::fs::create_dir_all(concat!(env!("CARGO_MANIFEST_DIR"), "/docs")).unwrap();
            std::fs::write(path, page()).unwrap();
        }
        assert_eq!(std::fs::read_to_string(path).unwrap(), page(), "run the tests with UPDATE_DOCS=1");
    }
}
