use bridge_macros::on;

#[on(torch)]
struct Model {
    weights: Vec<f32>,
}

trait Layer {
    #[on(torch)]
    fn applied(&self, #[array] x: &Tensor) -> Tensor;
}

fn main() {}
