//! ONNX Runtime behind [`Runtime`]: the only file that touches the crate `ort`.

use crate::guard::guarded;
use crate::library;
use crate::signature::{Port, all_given, check, fix_shapes, ports, shared};
use crate::{AnySize, Runtime, RuntimeError, Session};
use bytes::Bytes;
use half::{bf16, f16};
use ort::environment::Environment;
use ort::logging::LogLevel;
use ort::session::Session as Loaded;
use ort::session::builder::GraphOptimizationLevel;
use ort::value::{DynValue, Tensor as Foreign, TensorElementType};
use sparsec_ir::{Data, ElemType, Model, Tensor};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// The library that this process uses. It is never unloaded.
static LOADED: Mutex<Option<(PathBuf, Environment)>> = Mutex::new(None);

/// Opens the library that `path` means, or gives the one that is open if it is the same.
pub(crate) fn open(path: &Path) -> Result<Box<dyn Runtime>, RuntimeError> {
    let found = library::find(path)?;
    // Links are followed, so that one library has one path, and because the version is in the name of the file itself.
    let library = found.canonicalize().unwrap_or(found);
    let mut loaded = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
    let environment = match &*loaded {
        Some((path, environment)) if *path == library => environment.clone(),
        Some((path, _)) => return Err(RuntimeError::LibraryLoaded { loaded: path.clone(), asked: library }),
        None => {
            let unusable = |why: String| RuntimeError::NotOnnxRuntime { path: library.clone(), why };
            let builder =
                guarded(|| ort::init_from(&library)).map_err(unusable)?.map_err(|e| unusable(e.to_string()))?;
            let built = guarded(|| builder.with_name("sparsec").with_telemetry(false).build()).map_err(unusable)?;
            let environment = built.map_err(|e| unusable(e.to_string()))?;
            environment.set_log_level(LogLevel::Error);
            *loaded = Some((library.clone(), environment.clone()));
            environment
        }
    };
    Ok(Box::new(OnnxRuntime { name: name(&library), environment }))
}

/// `onnxruntime` and the version that the library's file name has, if it has one.
fn name(library: &Path) -> String {
    let version = library.file_name().and_then(|n| library::version(n.to_str()?)).unwrap_or_default();
    let numbers: Vec<String> = version.iter().map(u64::to_string).collect();
    format!("onnxruntime {}", numbers.join(".")).trim_end().to_string()
}

struct OnnxRuntime {
    name: String,
    environment: Environment,
}

impl Runtime for OnnxRuntime {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn any_size(&self) -> Option<&dyn AnySize> {
        Some(self)
    }

    fn load(&self, model: &Model, inputs: &[Vec<u64>], threads: usize) -> Result<Box<dyn Session>, RuntimeError> {
        self.load_sized(model, &all_given(inputs), threads)
    }
}

impl AnySize for OnnxRuntime {
    fn load_open(
        &self,
        model: &Model,
        shapes: &[Vec<Vec<u64>>],
        threads: usize,
    ) -> Result<Box<dyn Session>, RuntimeError> {
        let differ = || RuntimeError::Batch { why: "shapes of different rank take sessions of their own".to_string() };
        self.load_sized(model, &shared(shapes).ok_or_else(differ)?, threads)
    }
}

impl OnnxRuntime {
    /// A session for the sizes that are given, and any others.
    fn load_sized(
        &self,
        model: &Model,
        inputs: &[Vec<Option<u64>>],
        threads: usize,
    ) -> Result<Box<dyn Session>, RuntimeError> {
        let ports = ports(&model.graph, inputs)?;
        let mut fixed = model.clone();
        fix_shapes(&mut fixed, &ports);
        let outputs = fixed.graph.outputs().iter().map(|&v| fixed.graph.value(v).name.clone()).collect();
        let pool = Pool { environment: self.environment.clone(), model: fixed, threads, free: Mutex::new(Vec::new()) };
        let session = OrtSession { runtime: self.name.clone(), ports, outputs, pool };
        let first = session.build()?;
        session.pool.give_back(first);
        Ok(Box::new(session))
    }
}

/// Sessions of one model: ONNX Runtime's are not safe to run from several threads at once, so each caller that runs at
/// the same time as others gets its own.
struct Pool {
    environment: Environment,
    /// Encoded for each session anew: its weights are those of the file that it came from, an encoded model's would be
    /// copies.
    model: Model,
    threads: usize,
    free: Mutex<Vec<Loaded>>,
}

impl Pool {
    fn take(&self) -> Option<Loaded> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }
    fn give_back(&self, session: Loaded) {
        self.free.lock().unwrap_or_else(PoisonError::into_inner).push(session);
    }
    fn build(&self, encoded: &[u8]) -> Result<Loaded, ort::Error> {
        Loaded::builder(&self.environment)?
            .with_optimization_level(GraphOptimizationLevel::All)?
            .with_intra_threads(self.threads.max(1))?
            .with_parallel_execution(false)?
            .with_log_level(LogLevel::Error)?
            .commit_from_memory(encoded)
    }
}

struct OrtSession {
    runtime: String,
    ports: Vec<Port>,
    outputs: Vec<String>,
    pool: Pool,
}

impl OrtSession {
    fn build(&self) -> Result<Loaded, RuntimeError> {
        let stage = "creating the session";
        let failed = |why| RuntimeError::Load { runtime: self.runtime.clone(), stage, why };
        let encoded = sparsec_onnx::encode(&self.pool.model);
        let encoded = encoded.map_err(|source| RuntimeError::Encode { runtime: self.runtime.clone(), source })?;
        guarded(|| self.pool.build(&encoded)).map_err(failed)?.map_err(|e| failed(e.to_string()))
    }

    fn failed(&self, why: String) -> RuntimeError {
        let (operator, node) = place(&why);
        RuntimeError::Run { runtime: self.runtime.clone(), operator, node, why }
    }
}

impl Session for OrtSession {
    fn run(&self, inputs: &[Tensor]) -> Result<Vec<Tensor>, RuntimeError> {
        check(&self.ports, inputs)?;
        let refuse = |name: &str, elem: String| RuntimeError::ElemType {
            runtime: self.runtime.clone(),
            name: name.to_string(),
            elem,
        };
        let mut fed = Vec::with_capacity(inputs.len());
        for (tensor, port) in inputs.iter().zip(&self.ports) {
            let value = to_ort(tensor).ok_or_else(|| refuse(&port.name, tensor.elem.to_string()))?;
            fed.push((port.name.as_str(), value.map_err(|e| self.failed(e.to_string()))?));
        }
        let mut session = match self.pool.take() {
            Some(session) => session,
            None => self.build()?,
        };
        let outputs = guarded(|| {
            let results = session.run(fed).map_err(|e| self.failed(e.to_string()))?;
            let one = |name: &String| {
                let value = results.get(name).ok_or_else(|| self.failed(format!("no output `{name}`")))?;
                from_ort(value).ok_or_else(|| refuse(name, value.dtype().to_string()))?
            };
            self.outputs.iter().map(one).collect::<Result<Vec<Tensor>, RuntimeError>>()
        });
        let runtime = self.runtime.clone();
        let panicked = |why| RuntimeError::Panicked { runtime, operator: String::new(), node: String::new(), why };
        // After a panic the session is dropped: nobody knows what state it is in.
        let outputs = outputs.map_err(panicked)?;
        self.pool.give_back(session);
        outputs
    }
}

/// Operator and node in ONNX Runtime's report of a failed kernel: `… while running Conv node. Name:'c1' …`.
fn place(why: &str) -> (String, String) {
    let between = |start: &str, end: &str| Some(why.split_once(start)?.1.split_once(end)?.0.to_string());
    (between("while running ", " node.").unwrap_or_default(), between("Name:'", "'").unwrap_or_default())
}

/// The one place where element types meet Rust types.
macro_rules! by_type {
    ($elem:expr, $with:ident) => {
        match $elem {
            ElemType::F32 => $with!(f32, 4),
            ElemType::F64 => $with!(f64, 8),
            ElemType::F16 => $with!(f16, 2),
            ElemType::BF16 => $with!(bf16, 2),
            ElemType::I8 => $with!(i8, 1),
            ElemType::I16 => $with!(i16, 2),
            ElemType::I32 => $with!(i32, 4),
            ElemType::I64 => $with!(i64, 8),
            ElemType::U8 => $with!(u8, 1),
            ElemType::U16 => $with!(u16, 2),
            ElemType::U32 => $with!(u32, 4),
            ElemType::U64 => $with!(u64, 8),
            _ => None,
        }
    };
}

/// An input; `None` where the type cannot be exchanged.
fn to_ort(tensor: &Tensor) -> Option<ort::Result<DynValue>> {
    let shape: Vec<i64> = tensor.dims.iter().map(|&d| d as i64).collect();
    let bytes = match &tensor.data {
        Data::Raw(bytes) => bytes,
        Data::Strings(s) => {
            let text: Vec<String> = s.iter().map(|b| String::from_utf8_lossy(b).into_owned()).collect();
            return Some(Foreign::from_string_array((shape, text.as_slice())).map(|t| t.into_dyn()));
        }
    };
    if tensor.elem == ElemType::Bool {
        let flags: Vec<bool> = bytes.iter().map(|b| *b != 0).collect();
        return Some(Foreign::from_array((shape, flags)).map(|t| t.into_dyn()));
    }
    macro_rules! give {
        ($t:ty, $n:literal) => {{
            let (chunks, _) = bytes.as_chunks::<$n>();
            let elements: Vec<$t> = chunks.iter().map(|c| <$t>::from_le_bytes(*c)).collect();
            Some(Foreign::from_array((shape, elements)).map(|t| t.into_dyn()))
        }};
    }
    by_type!(tensor.elem, give)
}

/// An output; `None` where it is of a type that cannot be exchanged.
fn from_ort(value: &DynValue) -> Option<Result<Tensor, RuntimeError>> {
    let elem = native(value.dtype().tensor_type()?)?;
    let dims: Vec<u64> = value.shape().iter().map(|&d| d.max(0) as u64).collect();
    let raw = |bytes: Vec<u8>| Some(Tensor::raw(elem, dims.clone(), bytes.into()).map_err(RuntimeError::from));
    match elem {
        ElemType::String => {
            let (_, strings) = value.try_extract_strings().ok()?;
            let data = Data::Strings(strings.into_iter().map(Bytes::from).collect());
            Some(Ok(Tensor { elem, dims, data, ..Tensor::f32(&[0], &[]) }))
        }
        ElemType::Bool => raw(value.try_extract_tensor::<bool>().ok()?.1.iter().map(|b| u8::from(*b)).collect()),
        _ => {
            macro_rules! take {
                ($t:ty, $n:literal) => {
                    raw(value.try_extract_tensor::<$t>().ok()?.1.iter().flat_map(|v| v.to_le_bytes()).collect())
                };
            }
            by_type!(elem, take)
        }
    }
}

/// Our name of an element type.
fn native(elem: TensorElementType) -> Option<ElemType> {
    Some(match elem {
        TensorElementType::Float32 => ElemType::F32,
        TensorElementType::Float64 => ElemType::F64,
        TensorElementType::Float16 => ElemType::F16,
        TensorElementType::Bfloat16 => ElemType::BF16,
        TensorElementType::Int8 => ElemType::I8,
        TensorElementType::Int16 => ElemType::I16,
        TensorElementType::Int32 => ElemType::I32,
        TensorElementType::Int64 => ElemType::I64,
        TensorElementType::Uint8 => ElemType::U8,
        TensorElementType::Uint16 => ElemType::U16,
        TensorElementType::Uint32 => ElemType::U32,
        TensorElementType::Uint64 => ElemType::U64,
        TensorElementType::Bool => ElemType::Bool,
        TensorElementType::String => ElemType::String,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_carries_the_version_of_the_file() {
        assert_eq!(name(Path::new("/x/libonnxruntime.so.1.32.0")), "onnxruntime 1.32.0");
        assert_eq!(name(Path::new("/x/onnxruntime.dll")), "onnxruntime");
    }

    #[test]
    fn failed_kernels_are_named() {
        let why = "Non-zero status code returned while running Reshape node. Name:'r1' Status Message: no";
        assert_eq!(place(why), ("Reshape".to_string(), "r1".to_string()));
    }
}
