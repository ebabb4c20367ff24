// draw.rs - a page of digits by a consistency model, from Rust and without a crate.
//
//     make draw && ./draw MODEL.safetensors page.png
//
// consistency.rs has the declarations of the C interface, which tests/headers.py prints.
mod consistency;

use consistency::*;
use std::ffi::{c_void, CStr, CString, OsStr, OsString};
use std::mem::size_of;
use std::os::unix::ffi::OsStrExt;
use std::ptr::{null, null_mut};

// A status as a result, with the library's own sentence.
fn check(status: cm_status) -> Result<(), String> {
    if status == CM_OK {
        return Ok(());
    }
    Err(unsafe { CStr::from_ptr(cm_last_message()) }.to_string_lossy().into_owned())
}

// A name of a file, which need not be UTF-8.
fn c_string(path: &OsStr) -> Result<CString, String> {
    CString::new(path.as_bytes()).map_err(|e| e.to_string())
}

// Handles free what they hold.
struct Model(*mut cm_model);
impl Drop for Model {
    fn drop(&mut self) {
        unsafe { cm_model_free(self.0) }
    }
}

impl Model {
    fn load(path: &OsStr) -> Result<Model, String> {
        let path = c_string(path)?;
        let mut model = Model(null_mut());
        check(unsafe { cm_model_load(null_mut(), path.as_ptr(), null(), &mut model.0) })?;
        Ok(model)
    }

    fn info(&self) -> Result<cm_model_info, String> {
        unsafe {
            let mut info: cm_model_info = std::mem::zeroed();
            cm_model_info_init(&mut info, size_of::<cm_model_info>());
            check(cm_model_info_get(self.0, &mut info))?;
            Ok(info)
        }
    }
}

struct Sampler(*mut cm_sampler);
impl Drop for Sampler {
    fn drop(&mut self) {
        unsafe { cm_sampler_free(self.0) }
    }
}

// Dense pictures of bytes, channels together.
fn pictures(n: usize, height: i32, width: i32, channels: i32, bytes: &mut [u8]) -> cm_images {
    assert!(bytes.len() == n * (height * width * channels) as usize);
    unsafe {
        let mut view: cm_images = std::mem::zeroed();
        cm_images_init(&mut view, size_of::<cm_images>());
        view.dtype = CM_U8;
        view.layout = CM_LAYOUT_INTERLEAVED;
        (view.n, view.channels, view.height, view.width) = (n, channels, height, width);
        view.data = bytes.as_mut_ptr() as *mut c_void;
        view
    }
}

fn draw(model: &OsStr, page: &OsStr) -> Result<(), String> {
    let model = Model::load(model)?;
    let info = model.info()?;
    let mut sampler = Sampler(null_mut());
    check(unsafe { cm_sampler_create(model.0, null(), &mut sampler.0) })?;

    // Ten of each class, or a hundred of what there is.
    let (n, columns) = (100usize, 10);
    let labels: Vec<i32> = (0..n as i32).map(|i| i / columns % info.num_classes.max(1)).collect();
    let mut bytes = vec![0u8; n * (info.height * info.width * info.channels) as usize];
    let out = pictures(n, info.height, info.width, info.channels, &mut bytes);
    unsafe {
        let mut condition: cm_condition = std::mem::zeroed();
        cm_condition_init(&mut condition, size_of::<cm_condition>());
        condition.labels = labels.as_ptr();
        let mut options: cm_sample_options = std::mem::zeroed();
        cm_sample_options_init(&mut options, size_of::<cm_sample_options>());
        options.seed = 1;
        options.condition = if info.num_classes > 0 { &condition } else { null() };
        check(cm_sampler_run_images(sampler.0, &options, &out))?;

        let (mut height, mut width) = (0, 0);
        check(cm_image_grid_size(&out, columns, 2, &mut height, &mut width))?;
        let mut paper = vec![0u8; (height * width * info.channels) as usize];
        let sheet = pictures(1, height, width, info.channels, &mut paper);
        check(cm_image_grid(&out, columns, 2, 128, &sheet))?;
        let path = c_string(page)?;
        check(cm_image_write(null_mut(), path.as_ptr(), &sheet, null()))
    }
}

fn main() {
    let given: Vec<OsString> = std::env::args_os().collect();
    if given.len() != 3 {
        eprintln!("usage: draw MODEL.safetensors PAGE.png");
        std::process::exit(2);
    }
    if let Err(message) = draw(&given[1], &given[2]) {
        eprintln!("draw: {}", message);
        std::process::exit(1);
    }
}
