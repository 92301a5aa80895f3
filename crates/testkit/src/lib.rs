//! What tests share: fixtures, contract suites, waiting without sleeping.
