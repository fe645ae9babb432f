use armilla_models::ops::conv2d::*; use dfdx::prelude::*; use std::time::Instant;
fn main(){
 let dev=Cpu::default();
 for (b,c,o,n) in [(64,16,16,32),(64,32,32,16),(64,48,48,8),(64,1,16,32)] {
  let x=dev.tensor_from_vec(vec![0.1f32;b*c*n*n],(b,c,n,n)); let w=dev.tensor_from_vec(vec![0.1f32;o*c*9],(o*c*9,)); let bi=dev.tensor_from_vec(vec![0.1f32;o],(o,));
  let g=Geometry{kernel:3,padding:Padding::Circular};
  let t=Instant::now(); for _ in 0..20 { let _=conv2d(x.clone(),&w,&bi,g).unwrap(); } let e=t.elapsed().as_secs_f64()/20.;
  let fl=2.*(b*c*o*9*n*n) as f64;
  let t=Instant::now(); for _ in 0..20 { let y=conv2d(x.leaky_trace(),&w,&bi,g).unwrap(); let _=y.sum::<Rank0,_>().backward(); } let e2=t.elapsed().as_secs_f64()/20.;
  println!("{b} {c} {o} {n}: fwd {:.2} ms {:.1} GF/s; fwd+bwd {:.2} ms {:.1} GF/s",e*1e3,fl/e/1e9,e2*1e3,3.*fl/e2/1e9);
  let x=dev.tensor_from_vec(vec![0.1f32;b*o*n*n],(b,o,n,n)); let r=dev.tensor_from_vec(vec![0.1f32;b*2*o],(b,2*o));
  let t=Instant::now(); for _ in 0..20 { let _=armilla_models::ops::modulated_silu(x.clone(),r.clone()).unwrap(); } println!("  silu {:.2} ms", t.elapsed().as_secs_f64()/20.*1e3);
 }}
