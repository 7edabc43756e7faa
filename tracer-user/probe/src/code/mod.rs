//! From the bytes of a library to the sites that its functions are probed at.
