//! Numbers and byte strings one after another, big-endian, read within bounds.

/// Bytes that are no record or frame.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FormError {
    /// They end too early.
    #[error("{what} is cut off: {missing} bytes are missing")]
    Short {
        /// What was being read.
        what: &'static str,
        /// How many bytes more it needs.
        missing: usize,
    },
    /// A number stands for nothing that this version knows.
    #[error("{what} is {value}, which this version does not know")]
    Unknown {
        /// What was being read.
        what: &'static str,
        /// The number.
        value: u64,
    },
    /// A length or count is above its limit.
    #[error("{what}: {count} are more than the limit, {limit}")]
    TooMany {
        /// What was being read.
        what: &'static str,
        /// How many there should be.
        count: usize,
        /// How many there may be.
        limit: usize,
    },
    /// Something follows the end.
    #[error("{count} bytes follow the end of {what}")]
    Trailing {
        /// What was read.
        what: &'static str,
        /// How many bytes follow.
        count: usize,
    },
    /// What was read contradicts itself.
    #[error("{what} contradicts itself: {why}")]
    Contradiction {
        /// What was read.
        what: &'static str,
        /// How.
        why: &'static str,
    },
}

/// Bytes that are still to be read.
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(crate) fn bytes(
        &mut self,
        count: usize,
        what: &'static str,
    ) -> Result<&'a [u8], FormError> {
        let missing = count.saturating_sub(self.rest.len());
        let (taken, rest) = self
            .rest
            .split_at_checked(count)
            .ok_or(FormError::Short { what, missing })?;
        self.rest = rest;
        Ok(taken)
    }

    pub(crate) fn array<const N: usize>(
        &mut self,
        what: &'static str,
    ) -> Result<[u8; N], FormError> {
        let missing = N.saturating_sub(self.rest.len());
        let (taken, rest) = self
            .rest
            .split_first_chunk::<N>()
            .ok_or(FormError::Short { what, missing })?;
        self.rest = rest;
        Ok(*taken)
    }

    pub(crate) fn u8(&mut self, what: &'static str) -> Result<u8, FormError> {
        self.array(what).map(|[byte]| byte)
    }

    pub(crate) fn u16(&mut self, what: &'static str) -> Result<u16, FormError> {
        self.array(what).map(u16::from_be_bytes)
    }

    pub(crate) fn u32(&mut self, what: &'static str) -> Result<u32, FormError> {
        self.array(what).map(u32::from_be_bytes)
    }

    pub(crate) fn u64(&mut self, what: &'static str) -> Result<u64, FormError> {
        self.array(what).map(u64::from_be_bytes)
    }

    /// A count of 16 bits that is at most `limit`.
    pub(crate) fn count(&mut self, limit: usize, what: &'static str) -> Result<usize, FormError> {
        let count = usize::from(self.u16(what)?);
        if count > limit {
            return Err(FormError::TooMany { what, count, limit });
        }
        Ok(count)
    }

    /// Byte strings with their length, 32 bits, before them.
    pub(crate) fn sized(
        &mut self,
        limit: usize,
        what: &'static str,
    ) -> Result<&'a [u8], FormError> {
        let length = self.u32(what)?;
        let count = usize::try_from(length).unwrap_or(usize::MAX);
        if count > limit {
            return Err(FormError::TooMany { what, count, limit });
        }
        self.bytes(count, what)
    }

    pub(crate) const fn end(&self, what: &'static str) -> Result<(), FormError> {
        match self.rest.len() {
            0 => Ok(()),
            count => Err(FormError::Trailing { what, count }),
        }
    }
}

/// Bytes that are being written.
#[derive(Default)]
pub(crate) struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    pub(crate) fn u8(&mut self, value: u8) {
        self.bytes.push(value);
    }

    pub(crate) fn u16(&mut self, value: u16) {
        self.bytes(&value.to_be_bytes());
    }

    pub(crate) fn u32(&mut self, value: u32) {
        self.bytes(&value.to_be_bytes());
    }

    pub(crate) fn u64(&mut self, value: u64) {
        self.bytes(&value.to_be_bytes());
    }

    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// A count of a list that was checked to be short when it was made.
    pub(crate) fn count(&mut self, count: usize) {
        self.u16(
            u16::try_from(count).expect("lists in claims are limited to far less than 65,536"),
        );
    }

    pub(crate) fn sized(&mut self, bytes: &[u8]) {
        self.u32(
            u32::try_from(bytes.len()).expect("what is written is limited to a few mebibytes"),
        );
        self.bytes(bytes);
    }

    pub(crate) fn finish(self) -> Vec<u8> {
        self.bytes
    }
}
