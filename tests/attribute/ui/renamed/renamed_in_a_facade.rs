/// What a facade crate might export.
macro_rules! service {
    ($($item:tt)*) => {
        #[$crate::facade::daemon(crate = $crate::facade)]
        $($item)*
    };
}

mod facade {
    pub(crate) use rt::*;
}

service! {
    fn main() {}
}
