//! Reads what a model snapshot needs: the model file's header and the live process.
