//! Who asks: from a request's credentials to a grant, or to a challenge that says what to bring.
