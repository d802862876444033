//! What sparsec knows of operators: one file a rule, one line a file in [`table`]. `docs/operators.md` is made of it.
//!
//! Every file holds, in this order: numbered rules, table entries, a typed view, the facets in the order of the entry,
//! tests. A facet is a pure function of a [`NodeRef`](sparsec_ir::NodeRef) that returns data.
//!
//! ```
//! let table = sparsec_ops::table();
//! assert!(table.get("", "Relu").is_some());
//! ```

mod alike;
mod attention;
mod attention_fused;
mod attention_heads;
mod batch_norm;
mod binary;
mod broadcast;
mod causal_conv;
mod center_crop_pad;
mod col2im;
mod concat;
mod constant;
mod content;
mod control;
mod conv;
mod conv_fused;
mod conv_quantised;
mod conv_transpose;
mod cumsum;
mod data_sized;
mod deform_conv;
mod depth_to_space;
mod det;
mod einsum;
mod expand;
mod form;
mod gather;
mod gather_nd;
mod gelu;
mod gemm;
pub mod given;
mod grid_sample;
mod group_norm;
mod heads;
mod layer_norm;
mod linear_attention;
mod loss;
mod lrn;
mod matmul;
mod matmul_fused;
mod matmul_nbits;
mod matmul_quantised;
mod microsoft;
mod ml;
mod one_hot;
mod pad;
mod pool;
mod preview;
mod qlinear;
mod quantised;
mod quantize;
mod random;
mod recurrent;
mod reduce;
mod reshape;
mod resize;
mod reverse_sequence;
mod roi;
mod rotary;
mod rotary_fused;
mod sequence;
mod shape;
mod signal;
mod skip_norm;
mod slice;
mod softmax;
mod split;
mod squeeze;
mod swiglu;
mod table;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod testing_data;
mod text;
mod topk;
mod transpose;
mod trilu;
mod unary;
mod where_;
mod window;
mod work;

pub use table::table;
